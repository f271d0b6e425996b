"""Settings of a training run."""

from dataclasses import dataclass, field
from typing import Literal

from atomseg.errors import ConfigError
from atomseg.imaging import CANONICAL_PIXEL_NM, NormalizeConfig
from atomseg.networks import UNetConfig
from atomseg.train.losses import LossConfig
from atomseg.train.targets import TargetConfig
from atomseg.types import StageConfig

Precision = Literal["auto", "32-true", "bf16-mixed"]

_RANGES: dict[str, tuple[float, float]] = {
    "seed": (0, 2**63 - 1),
    "steps": (1, 10**8),
    "batch_size": (1, 4096),
    "crop_px": (64, 2048),
    "canonical_pixel_nm": (0.01, 0.05),
    "smallest_pixel_nm": (0.004, 0.045),
    "scene_share": (0.0, 1.0),
    "learning_rate": (1e-6, 1.0),
    "warmup_steps": (0, 10**6),
    "decay_fraction": (0.0, 1.0),
    "weight_decay": (0.0, 1.0),
    "gradient_clip": (1e-3, 1e6),
    "average_decay": (0.0, 0.999999),
    "validation_scenes": (1, 100_000),
    "validation_interval": (1, 10**7),
    "checkpoint_interval": (1, 10**7),
    "picture_interval": (1, 10**7),
    "patience": (0, 10**6),
    "workers": (0, 512),
    "threads": (0, 512),
    "devices": (1, 4096),
    "nodes": (1, 4096),
}


@dataclass(frozen=True, kw_only=True)
class TrainConfig(StageConfig):
    """Settings of `atomseg.train.train`.

    Parameters
    ----------
    network : UNetConfig
        Architecture.
    normalize : NormalizeConfig
        Normalization of images, the same in training and use.
    targets : TargetConfig
        How truth is drawn.
    losses : LossConfig
        Weights and shapes of the losses.
    seed : int
        Seed of weights and scenes.
    steps : int
        Optimizer steps. The learning rate is constant up to the final decay: a run can be resumed with another number.
    batch_size : int
        Scenes a step and device.
    crop_px : int
        Side of a training image in canonical pixels, a multiple of the network's stride.
    canonical_pixel_nm : float
        Pixel size the network works at; images are resampled to it.
    smallest_pixel_nm : float
        Finer pixels are simulated at this size: after resampling they differ in nothing but time.
    scene_share : float
        Part of the examples that are cut from scenes that were given to `train`; the others are simulated, so that
        nothing is forgotten.
    learning_rate, weight_decay : float
        Of AdamW.
    warmup_steps : int
        Steps of linear warm-up.
    decay_fraction : float
        Last part of the steps, in which the learning rate falls to zero along a cosine.
    gradient_clip : float
        Largest norm of the gradient.
    average_decay : float
        Decay a step of the moving average of the weights; the average is what is released (see `patience`).
    validation_scenes : int
        Fixed scenes that are never trained on.
    validation_interval, checkpoint_interval, picture_interval : int
        Steps between validations, checkpoints and picture grids.
    patience : int
        Validations without a better F1 after which the training ends. The averaged weights of the best validation are
        then what is released. Such an end leaves out the final decay of the learning rate, or most of it.
        0 trains all steps and releases the last average.
    workers : int
        Processes that simulate; 0 simulates in the training process.
    threads : int
        Threads of torch on the CPU; 0 leaves torch's choice.
    precision : str
        ``auto`` is bf16-mixed on a GPU and on CPUs with bf16 instructions, 32-true elsewhere.
    accelerator : str
        ``auto``, ``cpu`` or ``cuda``.
    devices, nodes : int
        GPUs a node and nodes, for Lightning.
    """

    network: UNetConfig = field(default_factory=UNetConfig)
    normalize: NormalizeConfig = field(default_factory=NormalizeConfig)
    targets: TargetConfig = field(default_factory=TargetConfig)
    losses: LossConfig = field(default_factory=LossConfig)
    seed: int = 20260
    steps: int = 4000
    batch_size: int = 4
    crop_px: int = 192
    canonical_pixel_nm: float = CANONICAL_PIXEL_NM
    smallest_pixel_nm: float = 0.012
    scene_share: float = 0.5
    learning_rate: float = 2e-3
    warmup_steps: int = 100
    decay_fraction: float = 0.35
    weight_decay: float = 1e-4
    gradient_clip: float = 1.0
    average_decay: float = 0.997
    validation_scenes: int = 48
    validation_interval: int = 200
    checkpoint_interval: int = 200
    picture_interval: int = 200
    patience: int = 0
    workers: int = 1
    threads: int = 0
    precision: Precision = "auto"
    accelerator: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int = 1
    nodes: int = 1

    def __post_init__(self) -> None:
        for name, (low, high) in _RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"train.{name} is {value:g}; allowed {low:g} to {high:g}")
        if self.crop_px % self.network.stride:
            raise ConfigError(
                f"train.crop_px is {self.crop_px}; it must be a multiple of the network's stride, {self.network.stride}"
            )
        if self.warmup_steps > self.steps:
            raise ConfigError(f"train.warmup_steps is {self.warmup_steps}, more than train.steps, {self.steps}")
