"""Training images simulated on the fly: any number, none twice, the same for the same seed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.utils.data import IterableDataset, get_worker_info

from atomseg.imaging import resample, to_canonical
from atomseg.imaging.photometry import column_covariances
from atomseg.train.config import TrainConfig
from atomseg.train.losses import Batch
from atomseg.train.targets import TrueColumns, draw_targets
from atomseg.types import Scene

# Draws one scene from a generator, large enough for a crop; see `atomseg.train.scenes`.
SceneSource = Callable[[np.random.Generator], Scene]
# Splits: their scenes have generators of their own.
TRAINING, VALIDATION, TEST = 0, 1, 2


@dataclass(frozen=True)
class Example:
    """One training image with its targets, float32 tensors (C, H, W), and its true columns."""

    image: Tensor
    heatmap: Tensor
    heatmap_weight: Tensor
    offset: Tensor
    offset_weight: Tensor
    restored: Tensor
    crystal: Tensor
    denoised: Tensor
    columns: Tensor
    known: Tensor
    clean_known: Tensor
    truth: TrueColumns
    pixel_nm: float


def example_generator(seed: int, split: int, index: int) -> np.random.Generator:
    """Generator of one example: it depends on these three numbers only, not on workers or on what came before."""
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(split, index)))


def make_example(scene: Scene, config: TrainConfig, rng: np.random.Generator) -> Example:
    """Resample, normalize, crop, turn and label one scene.

    Parameters
    ----------
    scene : Scene
        Must cover at least ``config.crop_px`` canonical pixels a side.
    config : TrainConfig
        Crop, normalization and targets.
    rng : numpy.random.Generator
        Draws the crop and the turn.
    """
    pixel_nm = config.canonical_pixel_nm
    view = to_canonical(scene.micrograph.image, scene.micrograph.calibration.pixel_size_nm, pixel_nm, config.normalize)
    table = scene.columns.table
    clean = view.normalized.image
    if scene.clean is not None:
        clean = (resample(scene.clean, view.scale) - view.normalized.mean) / view.normalized.scale
    yx = view.from_input_px(scene.columns.yx_px)
    crystal = resample(scene.crystal.astype(np.float32), view.scale) > 0.5
    size = config.crop_px
    slack = np.array(view.normalized.image.shape) - size
    if slack.min() < 0:
        raise ValueError(f"scene of {view.normalized.image.shape} canonical pixels is smaller than the crop, {size}")
    corner = rng.integers(0, slack + 1)
    window = (slice(corner[0], corner[0] + size), slice(corner[1], corner[1] + size))
    turns, flip = int(rng.integers(4)), bool(rng.integers(2))
    turned = [turn(a[window], turns, flip=flip) for a in (view.normalized.image, view.normalized.scale, crystal, clean)]
    columns = TrueColumns(
        yx_px=turn_points(yx - corner, size, turns, flip=flip),
        amplitude=table["amplitude"].to_numpy(dtype=np.float64),
        required=table["required"].to_numpy(dtype=bool),
        snr=table["snr"].to_numpy(dtype=np.float64),
        bound_px=_bounds(table, pixel_nm),
        covariance_px=turn_covariances(column_covariances(scene.columns) / pixel_nm**2, turns, flip=flip),
    )
    image, scale, crystal, clean = turned
    targets = draw_targets(columns, scale, pixel_nm, config.targets)
    return Example(
        image=_tensor(image),
        heatmap=_tensor(targets.heatmap),
        heatmap_weight=_tensor(targets.heatmap_weight),
        offset=torch.from_numpy(targets.offset),
        offset_weight=_tensor(targets.offset_weight),
        restored=_tensor(targets.restored),
        crystal=_tensor(crystal),
        denoised=_tensor(clean),
        columns=_tensor(targets.columns),
        known=torch.full((1, 1, 1), float(np.isfinite(columns.amplitude).all())),
        clean_known=torch.full((1, 1, 1), float(scene.clean is not None)),
        truth=columns,
        pixel_nm=pixel_nm,
    )


def turn(image: np.ndarray, turns: int, *, flip: bool) -> np.ndarray:
    """Quarter turns of a square image, then a left-right flip."""
    out = np.rot90(image, turns)
    return np.ascontiguousarray(out[:, ::-1] if flip else out)


def turn_points(yx: np.ndarray, size: int, turns: int, *, flip: bool) -> np.ndarray:
    """Positions after `turn` of an image of ``size`` pixels a side."""
    out = np.array(yx, dtype=np.float64).reshape(-1, 2)
    for _ in range(turns % 4):
        out = np.stack([size - 1 - out[:, 1], out[:, 0]], axis=1)
    if flip:
        out[:, 1] = size - 1 - out[:, 1]
    return out


def _bounds(table: pd.DataFrame, pixel_nm: float) -> np.ndarray:
    """(N,) Cramer-Rao bound of the distance from the true position, canonical pixels."""
    sigma_pm = table[["sigma_y_pm", "sigma_x_pm"]].to_numpy(dtype=np.float64)
    return np.asarray(1e-3 * np.hypot(sigma_pm[:, 0], sigma_pm[:, 1]) / pixel_nm)


def turn_covariances(covariance: np.ndarray, turns: int, *, flip: bool) -> np.ndarray:
    """Covariances (N, 2, 2) after `turn`: a quarter turn exchanges the axes and turns the sign of their product."""
    out = np.array(covariance, dtype=np.float64)
    if turns % 2:
        out = out[:, ::-1, ::-1].copy()
    if bool(turns % 2) != flip:
        out[:, 0, 1] *= -1
        out[:, 1, 0] *= -1
    return out


def stack(examples: list[Example]) -> dict[str, Tensor]:
    """Tensors of several examples as a batch, (B, C, H, W)."""
    return {f.name: torch.stack([getattr(e, f.name) for e in examples]) for f in fields(Batch)}


class SceneStream(IterableDataset[dict[str, Tensor]]):
    """Endless training batches; batch `n` holds the same scenes whatever the number of workers or an interruption.

    Parameters
    ----------
    source : SceneSource
        Simulates one scene.
    config : TrainConfig
        Seed, batch size and labels.
    first_batch : int
        Batches of this process that were already used.
    rank, world_size : int
        This process among the processes that train together.
    """

    def __init__(
        self, source: SceneSource, config: TrainConfig, *, first_batch: int = 0, rank: int = 0, world_size: int = 1
    ) -> None:
        super().__init__()
        self._source = source
        self._config = config
        self._first_batch = first_batch
        self._rank = rank
        self._world_size = world_size

    def __iter__(self) -> Iterator[dict[str, Tensor]]:
        worker = get_worker_info()
        offset, step = (worker.id, worker.num_workers) if worker is not None else (0, 1)
        number = self._first_batch + offset
        while True:
            yield self.batch(number * self._world_size + self._rank)
            number += step

    def batch(self, number: int) -> dict[str, Tensor]:
        """The batch of that number, counted over all processes."""
        size = self._config.batch_size
        return stack([self._example(number * size + k) for k in range(size)])

    def _example(self, index: int) -> Example:
        rng = example_generator(self._config.seed, TRAINING, index)
        return make_example(self._source(rng), self._config, rng)


def validation_examples(source: SceneSource, config: TrainConfig) -> list[Example]:
    """The fixed scenes that are never trained on."""
    generators = [example_generator(config.seed, VALIDATION, k) for k in range(config.validation_scenes)]
    return [make_example(source(rng), config, rng) for rng in generators]


def _tensor(image: np.ndarray) -> Tensor:
    """(1, H, W) float32 tensor of an image."""
    return torch.from_numpy(np.ascontiguousarray(image, dtype=np.float32))[None]
