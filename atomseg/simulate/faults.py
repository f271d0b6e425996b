"""O1 stacking faults: gaps between two TM rows without lateral shift, bounded by partial dislocations."""

from dataclasses import dataclass

import numpy as np

from atomseg.simulate.config import FaultConfig
from atomseg.simulate.layer import Layer
from atomseg.simulate.sampling import chance, integer, log_uniform, uniform
from atomseg.simulate.specimen import View
from atomseg.simulate.surface import Outline


@dataclass(frozen=True)
class Fault:
    """One O1 gap.

    Parameters
    ----------
    row : int
        Index of its interlayer row (odd).
    u_nm : tuple of float
        Ends along the row, nm in the lattice frame.
    slip : int
        Jump of the upper crystal in thirds of the row period, times the stacking sense: -1, or 2 where a lamella ends
        inside the crystal and its partial dislocations must cancel.
    occupancy : float
        Ni fraction of its interlayer sites.
    in_layer : bool
        Whether it belongs to the reconstruction layer.
    """

    row: int
    u_nm: tuple[float, float]
    slip: int
    occupancy: float
    in_layer: bool


def draw_faults(
    config: FaultConfig,
    view: View,
    row_nm: float,
    rotation: np.ndarray,
    outline: Outline,
    layers: tuple[Layer, ...],
    rng: np.random.Generator,
) -> tuple[Fault, ...]:
    """Random faults in the bulk and in the reconstruction layer.

    Parameters
    ----------
    config : FaultConfig
        Ranges.
    view : View
        Size of the image.
    row_nm : float
        Spacing of cation rows, nm.
    rotation : numpy.ndarray
        (2, 2) matrix whose rows are the unit vectors (y, x) along u and v: uv = yx @ rotation.T.
    outline, layers : Outline, tuple of Layer
        Where the layer is.
    rng : numpy.random.Generator
        Randomness.
    """
    faults: list[Fault] = []
    taken: set[int] = set()
    if chance(rng, config.p_bulk):
        for _ in range(_number(config, view, rng)):
            _add(config, view, row_nm, None, taken, faults, rng)
    has_layer = [i for i, layer in enumerate(layers) if layer.exists]
    if has_layer and chance(rng, config.p_layer):
        for _ in range(_number(config, view, rng)):
            at = _point_in_layer(outline, layers, int(rng.choice(has_layer)), view, rng)
            if at is not None:
                u, v = rotation @ np.asarray(at)
                _add(config, view, row_nm, (float(u), float(v)), taken, faults, rng)
    return tuple(faults)


def _number(config: FaultConfig, view: View, rng: np.random.Generator) -> int:
    return max(1, int(rng.poisson(uniform(rng, config.density_per_nm) * 2 * view.radius_nm)))


def _point_in_layer(
    outline: Outline, layers: tuple[Layer, ...], which: int, view: View, rng: np.random.Generator
) -> tuple[float, float] | None:
    """(y, x) of a random point between a face and its front, None when it misses the view."""
    face, layer = outline.faces[which], layers[which]
    s = uniform(rng, (-view.radius_nm, view.radius_nm))
    depth = rng.uniform(0.1, 0.8) * float(np.mean(layer.thickness_nm)) + face.offset_nm
    y = face.normal_yx[0] * depth - face.normal_yx[1] * s
    x = face.normal_yx[1] * depth + face.normal_yx[0] * s
    return (float(y), float(x)) if np.hypot(y, x) < view.radius_nm else None


def _add(
    config: FaultConfig,
    view: View,
    row_nm: float,
    at_uv: tuple[float, float] | None,
    taken: set[int],
    faults: list[Fault],
    rng: np.random.Generator,
) -> None:
    """Append one fault or lamella whose rows are still free."""
    radius = view.radius_nm
    u, v = at_uv if at_uv is not None else (rng.uniform(-radius, radius), rng.uniform(-radius, radius))
    gaps = integer(rng, config.lamella_gaps) if chance(rng, config.p_lamella) else 1
    first = 2 * round(v / row_nm / 2) + 1
    rows = [first + 2 * i for i in range(gaps)]
    if at_uv is None and chance(rng, config.p_through):
        ends = (-50.0 * radius, 50.0 * radius)
    else:
        length = log_uniform(rng, config.length_nm)
        ends = (u - length / 2, u + length / 2)
    occupancy = uniform(rng, config.occupancy)
    for i, row in enumerate(rows):
        # A neighbouring faulted gap in another fault would need its own dislocation core: keep one row pair between.
        if not taken & {row - 2, row, row + 2} or (i > 0 and row not in taken and rows[i - 1] in taken):
            slip = 2 if i % 3 == 1 else -1
            faults.append(Fault(row, (float(ends[0]), float(ends[1])), slip, occupancy, at_uv is not None))
            taken.add(row)


def subtended(u_nm: np.ndarray, dv_nm: np.ndarray, ends_nm: tuple[float, float]) -> np.ndarray:
    """Signed angle under which a point sees a fault, 0 to pi above it, -pi to 0 below, rad."""
    with np.errstate(divide="ignore", invalid="ignore"):
        angle = np.arctan((ends_nm[1] - u_nm) / dv_nm) - np.arctan((ends_nm[0] - u_nm) / dv_nm)
    return np.nan_to_num(angle)


def slip_displacement(
    faults: tuple[Fault, ...], u_nm: np.ndarray, row: np.ndarray, row_nm: float, third_nm: float
) -> tuple[np.ndarray, np.ndarray]:
    """Displacement along the rows by all faults, and how far each site lies in one.

    A fault is a cut bounded by two partial dislocations; far from the cores its field is slip * angle / (2 pi), the
    screw-like term of the edge dislocation's displacement (Hirth and Lothe, Theory of Dislocations, eq. 3-45, without the
    dilatation term): the jump across the cut is exactly the slip, and the field vanishes far away.

    Parameters
    ----------
    faults : tuple of Fault
        The faults.
    u_nm : numpy.ndarray
        (N,) position along the rows of the perfect crystal, nm.
    row : numpy.ndarray
        (N,) int cation row.
    row_nm : float
        Spacing of cation rows, nm.
    third_nm : float
        A third of the row period times the stacking sense, nm.

    Returns
    -------
    displacement : numpy.ndarray
        (N,) along the rows, nm.
    fault_index : numpy.ndarray
        (N,) int, index of the fault whose gap a site of an interlayer row lies in, -1 for none.
    """
    displacement = np.zeros(len(u_nm))
    index = np.full(len(u_nm), -1)
    for i, fault in enumerate(faults):
        slip = fault.slip * third_nm
        own = row == fault.row
        other = ~own
        angle = subtended(u_nm[other], (row[other] - fault.row) * row_nm, fault.u_nm)
        displacement[other] += slip * angle / (2 * np.pi)
        # Interlayer sites of the faulted gap: rigid with the lower slab, and straight above its TM columns where faulted.
        share = subtended(u_nm[own], np.full(int(own.sum()), row_nm), fault.u_nm) / np.pi
        displacement[own] += share * (third_nm - slip / 2)
        index[own] = np.where(share > 0.5, i, index[own])
    return displacement, index
