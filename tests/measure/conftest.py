"""TM lattices with known rows, stacking and displacement, made without any code of the package's own geometry."""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from atomseg.types import Calibration, CalibrationOrigin, Columns, LatticeFrame, Phase, PhaseMap

PERIOD, LAYER = 0.2490, 0.4730
PIXEL = 0.02


@dataclass(frozen=True)
class Crystal:
    """Rows along u, layers along v; `shifts`, in thirds of the period, lead from each layer to the next."""

    size_nm: float = 10.0
    rotation_deg: float = 0.0
    shifts: Callable[[int], int] = lambda layer: 1
    move: Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray]] | None = None
    interlayer: bool = False


def columns_of(crystal: Crystal) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions (y, x) in nm, row number and layer number of the columns inside the image."""
    n = int(crystal.size_nm / LAYER) + 6
    m = int(crystal.size_nm / PERIOD) + 12
    u, v, row = [], [], []
    thirds = 0
    for layer in range(-n, n):
        along = (np.arange(-m, m + 1) + (thirds % 3) / 3.0) * PERIOD
        u.append(along)
        v.append(np.full(len(along), layer * LAYER))
        row.append(np.full(len(along), 2 * layer))
        if crystal.interlayer:
            u.append(along + (2 * PERIOD / 3 if crystal.shifts(layer) else 0.0))
            v.append(np.full(len(along), (layer + 0.5) * LAYER))
            row.append(np.full(len(along), 2 * layer + 1))
        thirds += crystal.shifts(layer)
    a, b, number = np.concatenate(u), np.concatenate(v), np.concatenate(row)
    if crystal.move is not None:
        du, dv = crystal.move(a, b)
        a, b = a + du, b + dv
    t = np.deg2rad(crystal.rotation_deg)
    x, y = a * np.cos(t) + b * np.sin(t), a * np.sin(t) - b * np.cos(t)
    yx = np.stack([y, x], axis=1) + crystal.size_nm / 2
    inside = ((yx > 0) & (yx < crystal.size_nm - PIXEL)).all(axis=1)
    return yx[inside], number[inside] - number.min(), inside


def build(
    crystal: Crystal,
    noise_nm: np.ndarray | float = 0.0,
    seed: int = 0,
    keep: Callable[[np.ndarray], np.ndarray] | None = None,
) -> tuple[Columns, PhaseMap, Calibration]:
    """Columns, their phases (all layered) and the calibration."""
    rng = np.random.default_rng(seed)
    yx, row, _ = columns_of(crystal)
    if keep is not None:
        kept = keep(yx)
        yx, row = yx[kept], row[kept]
    yx = yx + rng.normal(size=yx.shape) * np.asarray(noise_nm)
    n = len(yx)
    sigma = np.broadcast_to(1e3 * np.asarray(noise_nm, float), (2,))
    table = pd.DataFrame({"id": np.arange(n), "y_px": yx[:, 0] / PIXEL, "x_px": yx[:, 1] / PIXEL})
    table["y_nm"], table["x_nm"] = yx[:, 0], yx[:, 1]
    table["sigma_y_pm"], table["sigma_x_pm"] = np.maximum(sigma[0], 0.1), np.maximum(sigma[1], 0.1)
    table["amplitude"], table["background"], table["probability"] = 1.0, 0.1, 1.0
    table["fwhm_major_nm"] = table["fwhm_minor_nm"] = 0.11
    table["theta_deg"], table["flags"] = 0.0, 0
    side = round(crystal.size_nm / PIXEL)
    t = np.deg2rad(crystal.rotation_deg)
    frame = LatticeFrame(
        (PERIOD * np.sin(t), PERIOD * np.cos(t)), (-0.5 * LAYER * np.cos(t), 0.5 * LAYER * np.sin(t)), n
    )
    phases = PhaseMap(
        labels=np.full((side, side), Phase.LAYERED, np.uint8),
        confidence=np.ones((side, side), np.float32),
        occupancy=np.full((side, side), 0.03, np.float32),
        columns=pd.DataFrame({"phase": np.full(n, int(Phase.LAYERED)), "row_id": row}),
        gaps=pd.DataFrame({name: [] for name in ("y_nm", "x_nm", "phase", "occupancy", "occupancy_err")}),
        frames=(frame,),
    )
    return Columns(table), phases, Calibration((PIXEL, PIXEL), CalibrationOrigin.USER)


@pytest.fixture
def maker() -> SimpleNamespace:
    return SimpleNamespace(Crystal=Crystal, build=build, period=PERIOD, layer=LAYER, pixel=PIXEL)
