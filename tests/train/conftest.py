"""A small source of scenes, independent of the simulator: Gaussian columns on a square lattice under Poisson noise."""

import numpy as np
import pandas as pd
import pytest

from atomseg.types import Calibration, CalibrationOrigin, Columns, Micrograph, PhaseMap, ReconstructionProfile, Scene
from atomseg.types.columns import LOCALIZATION_FIELDS
from atomseg.types.phases import PHASE_FIELDS
from atomseg.types.reconstruction import FAULT_FIELDS, PROFILE_FIELDS


def lattice_scene(rng: np.random.Generator, side: int = 80, pixel_nm: float = 0.025) -> Scene:
    """Crystal in the lower half of the image: columns 0.25 nm apart, 50 pm wide, every other row dim."""
    spacing, sigma = 0.25 / pixel_nm, 0.05 / pixel_nm
    first = rng.uniform(0, spacing, 2)
    grid = np.stack(np.meshgrid(*[f + np.arange(0, side, spacing) for f in first], indexing="ij"), axis=-1)
    yx = grid.reshape(-1, 2)
    amplitude = np.where(np.arange(grid.shape[0]) % 2, 20.0, 60.0)[:, None] * np.ones(grid.shape[1])
    inside = yx[:, 0] > side / 2
    yx, amplitude = yx[inside], amplitude.ravel()[inside]
    pixel = np.arange(side)
    rows = np.exp(-0.5 * ((pixel - yx[:, :1]) / sigma) ** 2)
    cols = np.exp(-0.5 * ((pixel - yx[:, 1:]) / sigma) ** 2)
    clean = 5 + (rows * amplitude[:, None]).T @ cols
    image = rng.poisson(clean).astype(np.float32)
    table = pd.DataFrame({name: np.zeros(len(yx)) for name in LOCALIZATION_FIELDS})
    table["y_px"], table["x_px"], table["amplitude"] = yx[:, 0], yx[:, 1], amplitude
    table["fwhm_major_nm"] = table["fwhm_minor_nm"] = 0.05 * 2 * np.sqrt(2 * np.log(2))
    table["sigma_y_pm"] = table["sigma_x_pm"] = 1e3 * pixel_nm / np.sqrt(amplitude)
    table["required"] = ((yx > 4) & (yx < side - 5)).all(axis=1).astype(int)
    table["snr"] = np.where(table["required"] == 1, 20.0, 3.0)
    crystal = np.zeros((side, side), dtype=bool)
    crystal[side // 2 :] = True
    empty = np.zeros((side, side), dtype=np.float32)
    phases = PhaseMap(
        labels=crystal.astype(np.uint8),
        confidence=empty,
        occupancy=empty,
        columns=pd.DataFrame(columns=list(PHASE_FIELDS)),
        gaps=pd.DataFrame(),
    )
    profile = ReconstructionProfile(
        points=pd.DataFrame(columns=list(PROFILE_FIELDS)),
        faults=pd.DataFrame(columns=list(FAULT_FIELDS)),
        depth_nm=empty,
    )
    calibration = Calibration(pixel_size_nm=(pixel_nm, pixel_nm), origin=CalibrationOrigin.USER)
    return Scene(
        micrograph=Micrograph(image=image, calibration=calibration),
        columns=Columns(table=table),
        phases=phases,
        reconstruction=profile,
        crystal=crystal,
        parameters={},
        clean=clean.astype(np.float32),
    )


@pytest.fixture
def scene_source():
    """Draws one scene from a generator."""
    return lattice_scene
