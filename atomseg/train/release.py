"""From a checkpoint to a released model folder."""

import datetime
import hashlib
import itertools
import json
import platform
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import lightning
import numpy as np
import safetensors
import torch
from safetensors.torch import save as save_safetensors

from atomseg._version import __version__
from atomseg.errors import ConfigError, ModelError, OutputError
from atomseg.networks import ModelCard, TrainingRecord, UNet, build_record, golden_outputs, write_card
from atomseg.networks.registry import CARD_FILE, GOLDEN_FILE, WEIGHTS_FILE
from atomseg.simulate import SceneConfig
from atomseg.train.assess import assess, calibrate_sigma, choose_threshold
from atomseg.train.checkpoint import read_checkpoint, released_weights
from atomseg.train.config import TrainConfig
from atomseg.train.dataset import TEST, Example, example_generator, make_example, validation_examples
from atomseg.train.origin import check_simulation
from atomseg.train.scenes import TrainingScenes

LIMITS = (
    "Trained on simulated HAADF contrast, bright columns on a darker ground; ABF, BF and dark atoms are not supported.",
    "Columns closer than 0.12 nm in projection are not separated.",
    "Linear imaging with probe tails and a thickness-dependent floor: no channelling of single dopants.",
    "Columns of a matched-filter signal-to-noise ratio below 5 are found in part; oxygen and lithium are not sought.",
    "Says where columns are, not which phase they belong to.",
)
# Of the scenes that accuracy is measured on.
TEST_SEED = 20260
# Largest difference of a raw output on another machine or GPU with reduced-precision convolutions (TF32).
_GOLDEN_TOLERANCE = 0.05


def release(
    checkpoint: Path,
    folder: Path,
    *,
    simulation: SceneConfig,
    commit: str,
    measured_on: SceneConfig | None = None,
    n_scenes: int = 200,
    overwrite: bool = False,
) -> ModelCard:
    """Write the averaged weights of a checkpoint as a model folder, with measured accuracy.

    Those of its best validation where it was trained with a `patience`, the last ones otherwise.

    Parameters
    ----------
    checkpoint : pathlib.Path
        From `train`.
    folder : pathlib.Path
        Where to; its name, ``<architecture>.<tag>``, is the model's id.
    simulation : SceneConfig
        Distribution of the scenes of the training, on which the threshold is chosen.
    commit : str
        Commit of the code that trained it.
    measured_on : SceneConfig, optional
        Distribution of the scenes that accuracy is measured on; that of the training where not given. The scenes are
        the same for every model, whatever the seed of its training.
    n_scenes : int
        Scenes to measure accuracy on, none of which was trained or validated on; as many choose the threshold.
    overwrite : bool
        Replace the folder; for models that were never published.

    Returns
    -------
    ModelCard
        The card that was written.

    Raises
    ------
    ModelError
        If the checkpoint can not be used.
    ConfigError
        If it was trained on other scenes than `simulation`.
    OutputError
        If the folder exists or can not be written.
    """
    folder = Path(folder)
    if folder.exists() and not overwrite:
        raise OutputError(f"{folder} exists and released models are never changed; choose another tag")
    saved = read_checkpoint(Path(checkpoint))
    config = _settings(saved, Path(checkpoint))
    check_simulation(saved, simulation, Path(checkpoint))
    weights, steps = released_weights(saved)
    network = _network(weights, config)
    source = TrainingScenes(simulation, config)
    tuning = replace(config, validation_scenes=max(config.validation_scenes, n_scenes))
    known = validation_examples(source, tuning)
    threshold, _ = choose_threshold(network, known)
    sigma_map = calibrate_sigma(network, known, threshold)
    test = TrainingScenes(measured_on or simulation, config)
    accuracy = assess(network, _test_examples(test, config, n_scenes), threshold, sigma_map)
    content = save_safetensors(network.state_dict(), metadata={"format": "pt"})
    low, high = simulation.scan.pixel_size_nm
    card = ModelCard(
        id=folder.name,
        sha256=hashlib.sha256(content).hexdigest(),
        architecture=config.network,
        normalization=config.normalize,
        pixel_size_nm=config.canonical_pixel_nm,
        valid_pixel_size_nm=(low, high),
        heatmap_threshold=threshold,
        offset_sigma_map=sigma_map,
        heads=config.network.heads,
        training=_record(saved, config, simulation, commit, steps),
        accuracy=accuracy,
        limits=LIMITS,
    )
    golden = next(iter(_test_examples(source, config, 1)))
    _write(folder, card, content, network, golden)
    return card


def _settings(saved: dict[str, Any], path: Path) -> TrainConfig:
    """The training's settings as kept in a checkpoint."""
    try:
        return build_record(TrainConfig, json.loads(json.dumps(saved["atomseg_config"])), "checkpoint")
    except (TypeError, ConfigError) as error:
        raise ModelError(f"{path} was written by another version of atomseg train: {error}") from error


def _network(weights: dict[str, torch.Tensor], config: TrainConfig) -> UNet:
    """Network with these weights, in eval mode."""
    network = UNet(config.network)
    network.load_state_dict(weights, strict=True)
    return network.eval()


def _test_examples(source: TrainingScenes, config: TrainConfig, n_scenes: int) -> Iterator[Example]:
    """Scenes of a split that is neither trained nor validated on."""
    for index in itertools.islice(itertools.count(), n_scenes):
        rng = example_generator(TEST_SEED, TEST, index)
        yield make_example(source(rng), config, rng)


def _record(
    saved: dict[str, Any], config: TrainConfig, simulation: SceneConfig, commit: str, steps: int
) -> TrainingRecord:
    """How the model was made."""
    return TrainingRecord(
        config=json.loads(json.dumps(asdict(config))),
        simulation=json.loads(json.dumps(asdict(simulation))),
        begun_with=str(saved["atomseg_begun_with"]),
        seed=config.seed,
        steps=steps,
        scenes=steps * config.batch_size * config.devices * config.nodes,
        seconds=round(float(saved["atomseg_seconds"]), 1),
        commit=commit,
        version=__version__,
        device=str(saved["atomseg_device"]),
        packages={
            "torch": torch.__version__,
            "lightning": lightning.__version__,
            "numpy": np.__version__,
            "safetensors": safetensors.__version__,
            "python": platform.python_version(),
        },
        date=datetime.datetime.now(tz=datetime.UTC).date().isoformat(),
    )


def _write(folder: Path, card: ModelCard, weights: bytes, network: UNet, golden: Example) -> None:
    """Write the folder whole or not at all."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".release-") as temporary:
            new = Path(temporary) / folder.name
            new.mkdir()
            (new / WEIGHTS_FILE).write_bytes(weights)
            write_card(card, new / CARD_FILE)
            image = golden.image[0, :96, :96].contiguous().numpy()
            outputs = golden_outputs(network, image, torch.device("cpu"))
            arrays: dict[str, Any] = {"input": image, "tolerance": np.float64(_GOLDEN_TOLERANCE), **outputs}
            np.savez_compressed(new / GOLDEN_FILE, **arrays)
            (new / "README.md").write_text(describe(card, network), encoding="utf-8")
            if folder.exists():
                shutil.rmtree(folder)
            new.rename(folder)
    except OSError as error:
        raise OutputError(f"can not write the model to {folder}: {error}") from error


def describe(card: ModelCard, network: UNet) -> str:
    """README of a model folder, Markdown."""
    training = card.training
    n_weights = sum(p.numel() for p in network.parameters())
    low, high = (1e3 * size for size in card.valid_pixel_size_nm)
    accuracy = "\n".join(f"| {name} | {value:g} |" for name, value in card.accuracy.items())
    limits = "\n".join(f"- {limit}" for limit in card.limits)
    minutes = training.seconds / 60
    begun = f", begun with the weights of {training.begun_with}" if training.begun_with else ""
    planned = training.config["steps"]
    steps = f"{training.steps} steps" if training.steps == planned else f"{training.steps} of {planned} steps"
    commit = (
        f"commit `{training.commit}`, atomseg {training.version}, torch {training.packages['torch']}, {training.date}"
    )
    return f"""# {card.id}

U-Net on blocks of 2 x 2 pixels with {n_weights:,} weights, {" / ".join(map(str, card.architecture.channels))} channels.
Works at {1e3 * card.pixel_size_nm:g} pm pixels, to which micrographs of {low:g} to {high:g} pm are resampled.

Answers: {", ".join(card.heads)}. A heat map peak of {card.heatmap_threshold:g} or more is a column.

## How it was made

{steps}, {training.scenes} simulated scenes, seed {training.seed}{begun}.
{minutes:.0f} minutes on {training.device}; {commit}.
All settings of the training and of the scenes are in `card.json`.

## Accuracy

On simulated scenes that it was neither trained nor tuned on, from heat map and offsets alone (the fit of
atomseg.localize makes positions better). Matches lie within 50 pm; columns that need not be found (too dim to be seen)
are neither right nor wrong. The scenes span more than usual micrographs do: 30 to 100 000 counts a column, columns of
35 to 95 pm width that may overlap, scan errors of tens of pm, amorphous films. A few scenes whose columns blur into
rows hold most of the missed columns: the median scene says what to expect of a good image. `snr` is the matched-filter
signal-to-noise ratio of a column as if it stood alone. `recall_dim` is the recall of columns less than half as bright
as the bright ones of their image. `offset_coverage` is the share of found columns whose true position lies within the
68 and 90 % radius that the network's own error bar states; the error bars were calibrated on other scenes.

| quantity | value |
|---|---|
{accuracy}

## Limits

{limits}

Weights: {card.licence}. Released files are never changed; sha256 of the weights `{card.sha256}`.
"""
