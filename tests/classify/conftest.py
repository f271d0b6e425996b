"""Ideal cation lattices with exact truth, independent of `atomseg.simulate` and of the classifier's geometry code."""

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from atomseg.types import Calibration, CalibrationOrigin, Columns, Micrograph

FWHM_NM = 0.11


@dataclass(frozen=True)
class Lattice:
    """A layered oxide down the close-packed zone, DOMAIN values: period 0.2492, layers 0.473, shift 1/3."""

    size_nm: float = 8.0
    pixel_nm: float = 0.02
    rotation_deg: float = 0.0
    sense: int = 1
    period_nm: float = 0.2492
    layer_nm: float = 0.473
    shear: float = 0.0
    o1_gaps: frozenset[int] = frozenset()
    occupancy: Callable[[np.ndarray, np.ndarray], np.ndarray] = field(default=lambda y, x: np.full_like(y, 0.03))
    crystal: Callable[[np.ndarray, np.ndarray], np.ndarray] = field(default=lambda y, x: np.ones_like(y, dtype=bool))
    dim_seen: float = (
        0.15  # interlayer columns fainter than this are not in the table, as a detector would leave them out
    )
    jitter_nm: float = 0.004
    noise: float = 0.01


def cation_sites(lattice: Lattice) -> tuple[np.ndarray, np.ndarray]:
    """Positions (N, 2) nm and brightness of all cation columns in the frame of the image."""
    half = int(lattice.size_nm / lattice.layer_nm) + 4
    along = np.arange(-4 * half, 4 * half + 1) * lattice.period_nm
    sites, layer = [], []
    offset = 0.0
    for gap in range(-half, half):
        height = gap * lattice.layer_nm
        straight = gap in lattice.o1_gaps
        inner = offset + (0.0 if straight else -lattice.sense / 3)
        for shift, up, kind in ((offset, 0.0, 1), (inner, lattice.layer_nm / 2, 0)):
            y = np.full_like(along, height + up)
            sites.append(np.stack([-y, along + shift * lattice.period_nm + lattice.shear * y], axis=1))
            layer.append(np.full(len(along), kind))
        offset += 0.0 if straight else lattice.sense / 3
    yx = np.concatenate(sites)
    turn = np.deg2rad(lattice.rotation_deg)
    matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    return yx @ matrix.T + lattice.size_nm / 2, np.concatenate(layer)


def table_of(yx_nm: np.ndarray, amplitude: np.ndarray, pixel_nm: float) -> Columns:
    """Column table of given positions."""
    n = len(yx_nm)
    table = pd.DataFrame({"id": np.arange(n)})
    table["y_px"], table["x_px"] = yx_nm[:, 0] / pixel_nm, yx_nm[:, 1] / pixel_nm
    table["y_nm"], table["x_nm"] = yx_nm[:, 0], yx_nm[:, 1]
    table["sigma_y_pm"] = table["sigma_x_pm"] = 4.0
    table["amplitude"], table["background"] = amplitude, 0.1
    table["fwhm_major_nm"] = table["fwhm_minor_nm"] = FWHM_NM
    table["theta_deg"], table["probability"], table["flags"] = 0.0, 1.0, 0
    return Columns(table)


def render(yx_nm: np.ndarray, amplitude: np.ndarray, size_nm: float, pixel_nm: float) -> np.ndarray:
    """Sum of round Gaussians on 0.1 of background."""
    n = round(size_nm / pixel_nm)
    image = np.full((n, n), 0.1)
    sigma, reach = FWHM_NM / 2.3548, int(0.25 / pixel_nm)
    for (y, x), height in zip(yx_nm / pixel_nm, amplitude, strict=True):
        r0, r1 = max(0, int(y) - reach), min(n, int(y) + reach + 1)
        c0, c1 = max(0, int(x) - reach), min(n, int(x) + reach + 1)
        if r0 < r1 and c0 < c1:
            dy = (np.arange(r0, r1) - y) * pixel_nm
            dx = (np.arange(c0, c1) - x) * pixel_nm
            image[r0:r1, c0:c1] += height * np.exp(-0.5 * (dy[:, None] ** 2 + dx[None, :] ** 2) / sigma**2)
    return image


def build(lattice: Lattice, extra_yx_nm: np.ndarray | None = None) -> tuple[Micrograph, Columns]:
    """Image and column table of a lattice."""
    rng = np.random.default_rng(7)
    yx, is_tm = cation_sites(lattice)
    amplitude = np.where(is_tm == 1, 1.0, lattice.occupancy(yx[:, 0], yx[:, 1]))
    keep = lattice.crystal(yx[:, 0], yx[:, 1])
    return finish(yx[keep], amplitude[keep], lattice, rng)


def finish(
    yx: np.ndarray, amplitude: np.ndarray, lattice: Lattice, rng: np.random.Generator
) -> tuple[Micrograph, Columns]:
    """Render, add noise, and tabulate what a detector would have found."""
    image = render(yx, amplitude, lattice.size_nm, lattice.pixel_nm)
    image = (image + rng.normal(0, lattice.noise, image.shape)).astype(np.float32)
    seen = (
        (yx >= 0).all(axis=1) & (yx <= lattice.size_nm - lattice.pixel_nm).all(axis=1) & (amplitude > lattice.dim_seen)
    )
    found = yx[seen] + rng.normal(0, lattice.jitter_nm, (int(seen.sum()), 2))
    calibration = Calibration((lattice.pixel_nm, lattice.pixel_nm), CalibrationOrigin.METADATA)
    return Micrograph(image, calibration), table_of(found, amplitude[seen], lattice.pixel_nm)


@pytest.fixture
def maker() -> SimpleNamespace:
    return SimpleNamespace(Lattice=Lattice, build=build, finish=finish, cation_sites=cation_sites)
