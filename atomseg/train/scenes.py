"""Scenes of the size that training needs, at a pixel size drawn for each."""

import math
from dataclasses import dataclass, replace

import numpy as np

from atomseg.simulate import SceneConfig, simulate
from atomseg.train.config import TrainConfig
from atomseg.types import Scene

# Rounding of the scene's shape on both grids.
_MARGIN_PX = 2


def covering_px(config: TrainConfig, pixel_nm: float) -> int:
    """Pixels of a size that cover a training crop."""
    return math.ceil(config.crop_px * config.canonical_pixel_nm / pixel_nm) + _MARGIN_PX


@dataclass(frozen=True)
class TrainingScenes:
    """Draws scenes that just cover a training crop, whatever their pixel size.

    Parameters
    ----------
    simulation : SceneConfig
        Distribution of scenes; its shape is replaced.
    config : TrainConfig
        Crop and smallest pixel size.
    """

    simulation: SceneConfig
    config: TrainConfig

    def __call__(self, rng: np.random.Generator) -> Scene:
        """One scene."""
        scan = self.simulation.scan
        low, high = (max(size, self.config.smallest_pixel_nm) for size in scan.pixel_size_nm)
        pixel_nm = math.exp(rng.uniform(math.log(low), math.log(high)))
        side = covering_px(self.config, pixel_nm * (1 - max(scan.anisotropy)))
        scene = replace(self.simulation, shape=(side, side), scan=replace(scan, pixel_size_nm=(pixel_nm, pixel_nm)))
        return simulate(scene, rng, truth="columns")
