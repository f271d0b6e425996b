"""O1 stacking faults: gaps between two TM rows without lateral shift, bounded by partial dislocations."""

from dataclasses import dataclass, replace

import numpy as np

from atomseg.simulate.layer import Layer, in_layer
from atomseg.simulate.sampling import chance, happens, integer, log_uniform, uniform
from atomseg.simulate.specimen import RowFrame, View
from atomseg.simulate.specimen_config import FaultConfig
from atomseg.simulate.surface import Face, Outline

# A fault through the whole view ends this many view radii away, where its dislocations are not felt.
FAR = 50.0
# Sampling of a fault that ends at the front of a layer, and the shortest one: two columns.
END_STEP_NM = 0.05
SHORTEST_NM = 0.6


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
    extra_nm : float
        By how much its TM rows stand further apart than those of the layered crystal, nm.
    """

    row: int
    u_nm: tuple[float, float]
    slip: int
    occupancy: float
    extra_nm: float = 0.0


def draw_faults(
    config: FaultConfig,
    view: View,
    frame: RowFrame,
    outline: Outline,
    layers: tuple[Layer, ...],
    *,
    rng: np.random.Generator,
) -> tuple[Fault, ...]:
    """Random faults in the bulk and in the reconstruction layer.

    Parameters
    ----------
    config : FaultConfig
        Ranges.
    view : View
        Size of the image.
    frame : RowFrame
        Where the rows lie.
    outline, layers : Outline, tuple of Layer
        Where the reconstruction layer is; its faults end inside it.
    rng : numpy.random.Generator
        Randomness.
    """
    faults: list[Fault] = []
    if happens(rng, config.p_hybrid):
        _add(faults, _hybrid(config, frame, view, rng))
    if chance(rng, config.p_bulk):
        for _ in range(_number(config, view, rng)):
            centre = rng.uniform(-view.radius_nm, view.radius_nm, 2)
            through = chance(rng, config.p_through)
            _add(faults, _lamella(config, frame, centre, rng, reach=view.radius_nm if through else None))
    below = [i for i, layer in enumerate(layers) if layer.exists]
    if below and chance(rng, config.p_layer):
        for _ in range(_number(config, view, rng)):
            which = int(rng.choice(below))
            point = _point_in_layer(outline.faces[which], layers[which], view, rng)
            if np.hypot(*point) < view.radius_nm:
                lamella = _lamella(config, frame, frame.to_uv(point), rng, reach=None)
                _add(faults, [_ended(fault, frame, outline, layers) for fault in lamella])
    extra = uniform(rng, config.spacing_nm) - 2 * frame.row_nm if faults and happens(rng, config.p_spacing) else 0.0
    return tuple(replace(fault, extra_nm=extra) for fault in faults)


def _number(config: FaultConfig, view: View, rng: np.random.Generator) -> int:
    return max(1, int(rng.poisson(uniform(rng, config.density_per_nm) * 2 * view.radius_nm)))


def _point_in_layer(face: Face, layer: Layer, view: View, rng: np.random.Generator) -> np.ndarray:
    """(y, x) of a random point between a face and its front, nm."""
    normal = np.asarray(face.normal_yx)
    s = rng.uniform(-view.radius_nm, view.radius_nm)
    depth = rng.uniform(0.1, 0.8) * float(np.mean(layer.thickness_nm)) + face.offset_nm
    return np.asarray(depth * normal + s * np.array([-normal[1], normal[0]]))


def _lamella(
    config: FaultConfig, frame: RowFrame, centre_uv: np.ndarray, rng: np.random.Generator, *, reach: float | None
) -> list[Fault]:
    """One fault or several in successive gaps, around a point (u, v); through the whole view where `reach` is given."""
    gaps = integer(rng, config.lamella_gaps) if chance(rng, config.p_lamella) else 1
    first = 2 * round(float(centre_uv[1]) / frame.row_nm / 2) + 1
    half = 0.5 * log_uniform(rng, config.length_nm) if reach is None else FAR * reach
    u = float(centre_uv[0]) if reach is None else 0.0
    occupancy = uniform(rng, config.occupancy)
    # Partial dislocations of the kind -1, +2, -1 add up to nothing: a lamella ends without a long-range field.
    return [Fault(first + 2 * i, (u - half, u + half), 2 if i % 3 == 1 else -1, occupancy) for i in range(gaps)]


def _hybrid(config: FaultConfig, frame: RowFrame, view: View, rng: np.random.Generator) -> list[Fault]:
    """A band of H1-3 stacking through the view: every other gap is O1."""
    gaps = integer(rng, config.hybrid_gaps)
    # Half of the band's gaps lie below a point in the middle part of the view.
    middle = float(frame.to_uv(rng.uniform(-0.3, 0.3, 2) * np.asarray(view.size_nm))[1])
    first = 2 * round(middle / frame.row_nm / 2) + 1 - 4 * (gaps // 2)
    reach, occupancy = FAR * view.radius_nm, uniform(rng, config.occupancy)
    # Slips -1, -1, +2 add up to nothing, so that the band does not shear the crystal on the long way to its ends.
    return [Fault(first + 4 * i, (-reach, reach), 2 if i % 3 == 1 else -1, occupancy) for i in range(gaps)]


def _ended(fault: Fault, frame: RowFrame, outline: Outline, layers: tuple[Layer, ...]) -> Fault:
    """The part of a fault around its middle that lies in the reconstruction layer; the surface end stays free."""
    u = np.arange(fault.u_nm[0], fault.u_nm[1] + END_STEP_NM, END_STEP_NM)
    at = frame.to_yx(u, np.full(len(u), fault.row))
    solid = outline.depths(at[:, 0], at[:, 1]).max(axis=0) > 0
    wrong = np.flatnonzero(solid & ~in_layer(outline, layers, at[:, 0], at[:, 1]))
    middle = len(u) // 2
    left, right = wrong[wrong <= middle], wrong[wrong > middle]
    low = fault.u_nm[0] if len(left) == 0 else float(u[left[-1]])
    high = fault.u_nm[1] if len(right) == 0 else float(u[right[0]])
    return replace(fault, u_nm=(low, high))


def _add(faults: list[Fault], lamella: list[Fault]) -> None:
    """Append the gaps whose rows keep a row pair from all earlier faults: their dislocation cores must not meet."""
    taken = {fault.row for fault in faults}
    for fault in lamella:
        long_enough = fault.u_nm[1] - fault.u_nm[0] > SHORTEST_NM
        if long_enough and not taken & {fault.row - 2, fault.row, fault.row + 2}:
            faults.append(fault)


def subtended(u_nm: np.ndarray, dv_nm: np.ndarray, ends_nm: tuple[float, float]) -> np.ndarray:
    """Signed angle under which a point sees a fault, 0 to pi above it, -pi to 0 below, rad."""
    with np.errstate(divide="ignore", invalid="ignore"):
        angle = np.arctan((ends_nm[1] - u_nm) / dv_nm) - np.arctan((ends_nm[0] - u_nm) / dv_nm)
    return np.nan_to_num(angle)


def slip_displacement(
    faults: tuple[Fault, ...], u_nm: np.ndarray, row: np.ndarray, row_nm: float, third_nm: float
) -> tuple[np.ndarray, np.ndarray]:
    """Displacement along the rows by all faults, and how far each site lies in one.

    A fault is a cut bounded by two partial dislocations: far from the cores its field is slip * angle / (2 pi), the
    angular term of an edge dislocation's displacement (Hirth and Lothe, Theory of Dislocations, eq. 3-45). The jump
    across the cut is exactly the slip, and the field vanishes far away.

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
        # Interlayer sites of the faulted gap go with the lower slab, and stand straight above its TM columns.
        share = subtended(u_nm[own], np.full(int(own.sum()), row_nm), fault.u_nm) / np.pi
        displacement[own] += share * (third_nm - slip / 2)
        index[own] = np.where(share > 0.5, i, index[own])
    return displacement, index
