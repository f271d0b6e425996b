"""Examples from a user's own scenes, mixed with simulated ones."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from atomseg.errors import InputError
from atomseg.train.config import TrainConfig
from atomseg.train.dataset import SceneSource
from atomseg.train.scenes import covering_px
from atomseg.types import Columns, Scene

# One scene in this many is kept for validation, the last ones, and at least one where there are two.
_HELD_OUT = 5


@dataclass(frozen=True)
class MixedScenes:
    """Draws pieces of given scenes, and simulated scenes otherwise.

    Parameters
    ----------
    scenes : tuple of Scene
        At least one; each covers a training crop.
    simulated : SceneSource
        Draws the others.
    config : TrainConfig
        Crop and share.
    """

    scenes: tuple[Scene, ...]
    simulated: SceneSource
    config: TrainConfig

    def __call__(self, rng: np.random.Generator) -> Scene:
        """One scene."""
        if rng.random() >= self.config.scene_share:
            return self.simulated(rng)
        scene = self.scenes[int(rng.integers(len(self.scenes)))]
        side = _crop_shape(scene, self.config)
        slack = np.array(scene.micrograph.shape) - side
        return cut(scene, rng.integers(0, slack + 1), side)


def mixed_sources(
    scenes: Sequence[Scene], simulated: SceneSource, config: TrainConfig
) -> tuple[SceneSource, SceneSource]:
    """Sources of training and validation, which share no scene.

    Raises
    ------
    InputError
        If there is one scene only, or one is smaller than a crop.
    """
    if len(scenes) < 2:
        raise InputError(f"{len(scenes)} scene for training; give at least 2: some are kept for validation")
    for scene in scenes:
        side, shape = _crop_shape(scene, config), scene.micrograph.shape
        if shape[0] < side[0] or shape[1] < side[1]:
            raise InputError(
                f"{scene.micrograph.name}: {shape} pixels are less than a training crop of {tuple(side)}; "
                "set a smaller crop_px"
            )
    n_held = max(1, len(scenes) // _HELD_OUT)
    parts = tuple(scenes[:-n_held]), tuple(scenes[-n_held:])
    first, second = (MixedScenes(part, simulated, config) for part in parts)
    return first, second


def cut(scene: Scene, corner: np.ndarray, shape: np.ndarray) -> Scene:
    """Image, mask and columns of a rectangle of a scene; phases and thickness are left as they are.

    Parameters
    ----------
    scene : Scene
        Any.
    corner, shape : numpy.ndarray
        (2,) first pixel and size.
    """
    (y, x), (height, width) = (int(v) for v in corner), (int(v) for v in shape)
    window = (slice(y, y + height), slice(x, x + width))
    table = scene.columns.table
    table = table.assign(y_px=table["y_px"] - y, x_px=table["x_px"] - x)
    micrograph = replace(
        scene.micrograph,
        image=scene.micrograph.image[window],
        invalid=None if scene.micrograph.invalid is None else scene.micrograph.invalid[window],
    )
    return replace(
        scene,
        micrograph=micrograph,
        columns=Columns(table),
        crystal=scene.crystal[window],
        clean=None if scene.clean is None else scene.clean[window],
    )


def _crop_shape(scene: Scene, config: TrainConfig) -> np.ndarray:
    """(2,) input pixels that cover a training crop."""
    return np.array([covering_px(config, p) for p in scene.micrograph.calibration.pixel_size_nm])
