"""Strain and rotation of the local lattice relative to a bulk reference."""

from dataclasses import dataclass

import numpy as np
import pandas as pd

from atomseg.measure.lattice import LocalLattice
from atomseg.measure.lattice_config import LatticeConfig
from atomseg.types import Phase
from atomseg.types.lattice import LATTICE_FIELDS

# Fewer columns do not make a reference: their mean would be as uncertain as the strain of a bent bulk.
FEWEST_REFERENCE = 30


@dataclass(frozen=True)
class Reference:
    """The lattice that strain is relative to.

    Parameters
    ----------
    row, layer : numpy.ndarray
        (2,) vectors (y, x), nm.
    member : numpy.ndarray
        (N,) bool, columns that it is the median of.
    source : str
        ``rectangle``, ``deepest_layered`` or ``layered``.
    """

    row: np.ndarray
    layer: np.ndarray
    member: np.ndarray
    source: str


def choose_reference(
    lattice: LocalLattice,
    yx_px: np.ndarray,
    phase: np.ndarray,
    depth_nm: np.ndarray,
    config: LatticeConfig,
) -> Reference | None:
    """Median lattice of the bulk; None where there are too few columns of it.

    Parameters
    ----------
    lattice : LocalLattice
        Local lattices.
    yx_px : numpy.ndarray
        (N, 2) column positions, pixels.
    phase : numpy.ndarray
        (N,) int phase codes.
    depth_nm : numpy.ndarray
        (N,) depth below the surface, NaN where there is none.
    config : LatticeConfig
        Settings.
    """
    if config.reference_px is not None:
        top, left, bottom, right = config.reference_px
        y, x = yx_px.T
        member = lattice.known & (y >= top) & (y < bottom) & (x >= left) & (x < right)
        source = "rectangle"
    else:
        member = lattice.known & (phase == Phase.LAYERED)
        source = "layered"
        deep = member & np.isfinite(depth_nm)
        if deep.sum() >= 0.5 * max(1, member.sum()):
            floor = np.quantile(depth_nm[deep], 1.0 - config.reference_depth_share)
            member, source = deep & (depth_nm >= floor), "deepest_layered"
    if member.any():  # of several domains the one with most columns
        member &= lattice.domain == np.bincount(lattice.domain[member]).argmax()
    if member.sum() < FEWEST_REFERENCE:
        return None
    row, layer = lattice.row[member], lattice.layer[member]
    # Medians of components depend on the axes: those along and across the mean row turn with the crystal.
    along = row.mean(axis=0) / np.hypot(*row.mean(axis=0))
    axes = np.array([along, [along[1], -along[0]]])
    return Reference(np.median(row @ axes.T, axis=0) @ axes, np.median(layer @ axes.T, axis=0) @ axes, member, source)


def lattice_table(lattice: LocalLattice, reference: Reference | None) -> pd.DataFrame:
    """`LATTICE_FIELDS` of every column.

    Strain is the stretch of the polar decomposition, in the axes of the crystal (along its rows, across them): a turn
    of the crystal or of the scan is no strain, however large.
    """
    n = len(lattice.row)
    period, spacing, along, normal, lean = _measures(lattice)
    table = pd.DataFrame({"id": np.arange(n), "period_nm": period, "spacing_nm": spacing})
    zero = np.zeros_like(along)
    tilt = (lean / period)[:, None]
    table["period_err_nm"] = _error(lattice, along, zero)
    table["spacing_err_nm"] = _error(lattice, -tilt * normal, normal)
    for name, value in _strain(lattice, reference).items():
        table[name] = value
    if reference is None:
        for name in ("strain_cc_err", "strain_ip_err", "shear_err", "rotation_err_deg"):
            table[name] = np.nan
        table["in_reference"] = 0
    else:
        p0 = float(np.hypot(*reference.row))
        d0 = abs(_cross(reference.row, reference.layer)) / p0
        slope = float(reference.layer @ reference.row) / p0**2
        # Derivatives of F = D D0^-1 in the crystal's axes, to first order in the strain.
        table["strain_ip_err"] = _error(lattice, along / p0, zero)
        table["strain_cc_err"] = _error(lattice, -slope / d0 * normal, normal / d0)
        half = 0.5 * normal / p0
        table["shear_err"] = _error(lattice, half - 0.5 * slope / d0 * along, 0.5 * along / d0)
        turned = _error(lattice, half + 0.5 * slope / d0 * along, -0.5 * along / d0)
        table["rotation_err_deg"] = np.rad2deg(turned)
        table["in_reference"] = reference.member.astype(int)
    table["misfit_pm"] = np.where(lattice.known, 1e3 * lattice.misfit_nm, np.nan)
    return table[list(LATTICE_FIELDS)]


def _measures(lattice: LocalLattice) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Period, spacing, unit vectors along and across the rows, and the layer vector's part along them."""
    period = np.hypot(*lattice.row.T)
    along = lattice.row / period[:, None]
    normal = np.stack([along[:, 1], -along[:, 0]], axis=1)
    up = (normal * lattice.layer).sum(axis=1)
    normal = normal * np.where(up < 0, -1.0, 1.0)[:, None]
    return period, np.abs(up), along, normal, (along * lattice.layer).sum(axis=1)


def _error(lattice: LocalLattice, by_row: np.ndarray, by_layer: np.ndarray) -> np.ndarray:
    """(N,) standard error of a number with the given derivatives by the row and the layer vector."""
    slope = np.concatenate([by_row, by_layer], axis=1)
    return np.sqrt(np.einsum("ni,nij,nj->n", slope, lattice.covariance, slope))


def _cross(a: np.ndarray, b: np.ndarray) -> float:
    return float(a[0] * b[1] - a[1] * b[0])


def deformation(lattice: LocalLattice, reference: Reference) -> np.ndarray:
    """(N, 2, 2) what the reference lattice is multiplied with to give the one here, in (y, x); NaN where unknown."""
    gradient = np.full((len(lattice.row), 2, 2), np.nan)
    bulk = np.stack([reference.row, reference.layer], axis=1)
    here = np.stack([lattice.row[lattice.known], lattice.layer[lattice.known]], axis=2)
    # Rows have no sense of direction: a domain whose frame is the mirror image of the reference's is read backwards.
    mirrored = np.linalg.det(here) * np.linalg.det(bulk) < 0
    here[mirrored, :, 0] *= -1.0
    gradient[lattice.known] = here @ np.linalg.inv(bulk)
    return gradient


def _strain(lattice: LocalLattice, reference: Reference | None) -> dict[str, np.ndarray]:
    names = ("strain_cc", "strain_ip", "shear", "rotation_deg")
    out = {name: np.full(len(lattice.row), np.nan) for name in names}
    if reference is None:
        return out
    known = lattice.known
    gradient = deformation(lattice, reference)[known]
    angle = np.arctan2(gradient[:, 0, 1] - gradient[:, 1, 0], gradient[:, 0, 0] + gradient[:, 1, 1])
    cosine, sine = np.cos(angle), np.sin(angle)
    # (y, x) components: a turn from +x towards +y is [[c, s], [-s, c]].
    turn = np.stack([np.stack([cosine, sine], -1), np.stack([-sine, cosine], -1)], axis=1)
    stretch = turn.transpose(0, 2, 1) @ gradient
    along = reference.row / np.hypot(*reference.row)
    normal = np.array([along[1], -along[0]])
    normal = normal * np.sign(normal @ reference.layer)
    out["strain_cc"][known] = normal @ (stretch @ normal).T - 1.0
    out["strain_ip"][known] = along @ (stretch @ along).T - 1.0
    out["shear"][known] = along @ (stretch @ normal).T
    out["rotation_deg"][known] = (np.rad2deg(angle) + 90.0) % 180.0 - 90.0
    return out
