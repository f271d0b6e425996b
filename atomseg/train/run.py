"""The training run: data, loggers, checkpoints, resume."""

import logging
import platform
import signal
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from lightning.pytorch.utilities import rank_zero_only
from threadpoolctl import threadpool_limits
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from atomseg.errors import OutputError
from atomseg.networks import Model
from atomseg.simulate import SceneConfig
from atomseg.train.checkpoint import last_checkpoint, read_checkpoint
from atomseg.train.config import TrainConfig
from atomseg.train.dataset import Example, SceneSource, SceneStream, validation_examples
from atomseg.train.module import ColumnTraining, validation_batches
from atomseg.train.origin import Origin, check_resumed, origin_of, write_settings
from atomseg.train.own import mixed_sources
from atomseg.train.patience import Patience
from atomseg.train.pictures import picture_grid, save_grid
from atomseg.train.progress import StepProgress
from atomseg.train.scenes import TrainingScenes
from atomseg.types import Scene

_N_PICTURES = 8


def train(
    config: TrainConfig,
    *,
    simulation: SceneConfig,
    output: Path,
    resume: bool = False,
    start: Model | None = None,
    scenes: Sequence[Scene] = (),
) -> Path:
    """Train a network on scenes that are simulated on the fly, and on given ones where there are any.

    Writes ``checkpoints/last.ckpt``, ``metrics/*/metrics.csv``, ``tensorboard/``, ``pictures/*.png`` and the two
    configurations as JSON into `output`.

    Parameters
    ----------
    config : TrainConfig
        Settings.
    simulation : SceneConfig
        Distribution of scenes.
    output : pathlib.Path
        Folder of the run.
    resume : bool
        Go on from ``checkpoints/last.ckpt``; the batches go on where they stopped.
    start : Model, optional
        Fine-tune this model: its weights are the first ones, and its architecture, normalization and pixel size replace
        those of `config`.
    scenes : sequence of Scene
        Own images with truth, e.g. from `atomseg.io.read_training_folder`; ``config.scene_share`` of the examples are
        cut from them. Some are kept for validation.

    Returns
    -------
    pathlib.Path
        The last checkpoint, to be given to `release`.

    Raises
    ------
    OutputError
        If `output` has a run and `resume` is False.
    ModelError
        If there is nothing to resume.
    ConfigError
        If the run was begun with other settings, scenes or first weights.
    InputError
        If the given scenes are too few or too small.
    """
    output = Path(output)
    if start is not None:
        config = _as_model(config, start)
    origin = origin_of(simulation, scenes, start)
    if resume:
        check_resumed(config, origin, output)
    else:
        _check_new(output)
    if is_first_process():
        write_settings(config, simulation, output)
    source: SceneSource = TrainingScenes(simulation, config)
    known = source
    if scenes:
        source, known = mixed_sources(scenes, source, config)
    return fit(config, source, output=output, resume=resume, known=known, start=start, origin=origin)


def _as_model(config: TrainConfig, model: Model) -> TrainConfig:
    """Settings with what the model's weights are bound to."""
    card = model.card
    return replace(
        config, network=card.architecture, normalize=card.normalization, canonical_pixel_nm=card.pixel_size_nm
    )


def fit(
    config: TrainConfig,
    source: SceneSource,
    *,
    output: Path,
    resume: bool = False,
    known: SceneSource | None = None,
    start: Model | None = None,
    origin: Origin | None = None,
) -> Path:
    """Train on scenes of any source; what `train` does once the settings are checked and kept.

    Parameters
    ----------
    config : TrainConfig
        Settings.
    source : SceneSource
        Draws one scene from a generator.
    output, resume
        As for `train`.
    known : SceneSource, optional
        Draws the validation scenes; `source` where not given.
    start : Model, optional
        Its weights are the first ones; its architecture is that of `config`.
    origin : Origin, optional
        Kept in the checkpoints, for when the run is resumed or released.
    """
    last = last_checkpoint(output)
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    examples = validation_examples(known or source, config)
    first_step = int(read_checkpoint(last)["global_step"]) if resume else 0
    record = _Record("" if start is None else start.card.id, {} if origin is None else asdict(origin))
    trainer = _trainer(config, output, examples, first_step, record)
    module = ColumnTraining(config, examples)
    if start is not None:
        module.network.load_state_dict(start.network.state_dict())
        module.average.load_state_dict(start.network.state_dict())
    data = _Data(config, source, examples)
    _run(trainer, module, data, str(last) if resume else None)
    trainer.save_checkpoint(last)
    return last


def _run(trainer: lightning.Trainer, module: ColumnTraining, data: "_Data", checkpoint: str | None) -> None:
    """Train; an interrupt stays one, where Lightning would end the process without a word and ignore the next."""
    on_interrupt = signal.getsignal(signal.SIGINT)
    try:
        trainer.fit(
            module, datamodule=data, ckpt_path=None if checkpoint is None else str(checkpoint), weights_only=True
        )
    except SystemExit:
        if not trainer.interrupted:
            raise
        signal.signal(signal.SIGINT, on_interrupt)
        raise KeyboardInterrupt from None


def choose_precision(config: TrainConfig) -> str:
    """``32-true`` or ``bf16-mixed``: what the settings say, or the faster one of this machine."""
    if config.precision != "auto":
        return config.precision
    if config.accelerator != "cpu" and torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "32-true"
    return "bf16-mixed" if _cpu_has_bf16() else "32-true"


def _cpu_has_bf16() -> bool:
    """Whether the CPU multiplies bfloat16 itself; torch's capability names no more than AVX512 for such ones.

    Emulated it would be slower than float32. The questions are private to torch, and a version without them says no.
    """
    answers = [getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported")]
    return any(bool(answer()) for answer in answers if answer is not None)


class _Data(lightning.LightningDataModule):  # type: ignore[misc]
    """Training stream and validation batches."""

    def __init__(self, config: TrainConfig, source: SceneSource, examples: list[Example]) -> None:
        super().__init__()
        self._config = config
        self._source = source
        self._examples = examples

    def train_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Stream that starts where the restored run stopped."""
        trainer = self.trainer
        assert trainer is not None  # Lightning attaches it before asking for data
        stream = SceneStream(
            self._source,
            self._config,
            first_batch=trainer.global_step,
            rank=trainer.global_rank,
            world_size=trainer.world_size,
        )
        workers, gpu = self._config.workers, trainer.strategy.root_device.type == "cuda"
        return DataLoader(
            stream,
            batch_size=None,
            num_workers=workers,
            prefetch_factor=4 if workers else None,
            pin_memory=gpu,
            worker_init_fn=_one_thread,
        )

    def val_dataloader(self) -> DataLoader[dict[str, Tensor]]:
        """Fixed batches."""
        return DataLoader(_Batches(validation_batches(self._examples, self._config.batch_size)), batch_size=None)


def _one_thread(_: int) -> None:
    """Keep a simulating process to one core: NumPy's products would take them all, from each other and the training."""
    threadpool_limits(1)


class _Batches(Dataset[dict[str, Tensor]]):
    """Batches kept in memory."""

    def __init__(self, batches: list[dict[str, Tensor]]) -> None:
        self._batches = batches

    def __len__(self) -> int:
        return len(self._batches)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return self._batches[index]


class _Average(Callback):  # type: ignore[misc]
    """Moves the average of the weights after every step.

    A callback, because Lightning asks the module itself only after a checkpoint of the step has been written.
    """

    def on_train_batch_end(self, _trainer: Any, module: ColumnTraining, *_: Any) -> None:
        module.follow()


class _Pictures(Callback):  # type: ignore[misc]
    """Saves a picture grid of the first validation scenes every so many steps."""

    def __init__(self, folder: Path, interval: int, examples: list[Example]) -> None:
        self._folder = folder
        self._interval = interval
        self._examples = examples[:_N_PICTURES]

    def on_train_batch_end(self, trainer: lightning.Trainer, module: lightning.LightningModule, *_: Any) -> None:
        step = trainer.global_step
        if step % self._interval and step != trainer.max_steps:
            return
        if not trainer.is_global_zero or not isinstance(module, ColumnTraining):
            return
        grid = picture_grid(module.average, self._examples)
        save_grid(grid, self._folder / f"step_{step:07d}.png")
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                logger.experiment.add_image("validation", grid, step)


class _Record(Callback):  # type: ignore[misc]
    """Keeps for the model card what was trained on, and the seconds of training over all interruptions."""

    def __init__(self, start: str, origin: dict[str, Any]) -> None:
        self._begun_with = start
        self._origin = origin
        self._before = 0.0
        self._start = time.monotonic()

    def on_train_start(self, *_: Any) -> None:
        self._start = time.monotonic()

    def state_dict(self) -> dict[str, Any]:
        """What was begun with, and the seconds so far."""
        seconds = self._before + time.monotonic() - self._start
        return {"seconds": seconds, "begun_with": self._begun_with, "origin": self._origin}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._before = float(state_dict["seconds"])
        self._begun_with = state_dict["begun_with"]
        self._origin = state_dict.get("origin", {})  # of an old run it is not known, and stays so

    def on_save_checkpoint(self, _trainer: Any, _module: Any, checkpoint: dict[str, Any]) -> None:
        """Put them and the machine where `release` finds them."""
        checkpoint["atomseg_seconds"] = self.state_dict()["seconds"]
        checkpoint["atomseg_begun_with"] = self._begun_with
        checkpoint["atomseg_origin"] = self._origin
        checkpoint["atomseg_device"] = _machine()


def _machine() -> str:
    """What trains: the GPU's name, or the number of CPU threads."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{torch.get_num_threads()} CPU threads ({platform.machine()}, {torch.backends.cpu.get_cpu_capability()})"


def _trainer(
    config: TrainConfig, output: Path, examples: list[Example], first_step: int, record: Callback
) -> lightning.Trainer:
    """Lightning's trainer with checkpoints, loggers and pictures."""
    started = f"from_step_{first_step:07d}"  # a resumed run adds its logs, it does not replace those before
    for name in ("utilities.rank_zero", "accelerators.cuda", "trainer.connectors.checkpoint_connector"):
        logging.getLogger(f"lightning.pytorch.{name}").setLevel(logging.WARNING)
    checkpoints = ModelCheckpoint(
        dirpath=output / "checkpoints",
        filename="{step:07d}",
        every_n_train_steps=config.checkpoint_interval,
        save_last=True,
        save_top_k=1,
        monitor="step",
        mode="max",
        # A run whose folder was moved would write last-v1.ckpt, and be resumed from the old last.ckpt.
        enable_version_counter=False,
    )
    pictures = _Pictures(output / "pictures", config.picture_interval, examples)
    callbacks = [StepProgress(), _Average(), checkpoints, pictures, record]
    if config.patience:
        callbacks.append(Patience(config.patience, last_checkpoint(output)))
    return lightning.Trainer(
        accelerator=config.accelerator,
        devices=config.devices,
        num_nodes=config.nodes,
        precision=choose_precision(config),  # type: ignore[arg-type]
        # CPUs repeat themselves anyway; on GPUs it has to be asked for.
        deterministic="warn" if torch.cuda.is_available() and config.accelerator != "cpu" else None,
        max_steps=config.steps,
        max_epochs=-1,
        gradient_clip_val=config.gradient_clip,
        val_check_interval=min(config.validation_interval, config.steps),
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        log_every_n_steps=10,
        logger=[
            CSVLogger(output / "metrics", name="", version=started),
            TensorBoardLogger(output / "tensorboard", name="", version=started),
        ],
        callbacks=callbacks,
        default_root_dir=output,
        use_distributed_sampler=False,  # the training stream shares itself out; every process validates on all scenes
        enable_model_summary=False,
    )


def _check_new(output: Path) -> None:
    """Refuse to overwrite a run."""
    if last_checkpoint(output).exists() and is_first_process():
        raise OutputError(f"{output} already holds a run; say --resume to go on, or give another folder")


def is_first_process() -> bool:
    """False in the further processes of a training on several GPUs or nodes."""
    return int(rank_zero_only.rank or 0) == 0
