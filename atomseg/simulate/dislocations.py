"""Edge dislocations: elastic displacement fields and their random draws."""

from dataclasses import dataclass, replace

import numpy as np

from atomseg.simulate.defect_config import DefectConfig
from atomseg.simulate.faults import FAR, Fault
from atomseg.simulate.sampling import integer, uniform
from atomseg.simulate.specimen import RowFrame, View

# The field of a dislocation is frozen inside this radius, where continuum elasticity diverges.
FROZEN_NM = 0.1
# Columns that the field of a core pushes closer than this are one.
SAME_COLUMN_NM = 0.11
# Dislocations lie in this part of the view and keep a distance from each other.
CENTRAL_PART, APART_NM = 0.6, 1.5
# A fault that comes closer to a core than this would be part of it.
FAULT_FREE_NM = 1.5


@dataclass(frozen=True)
class Dislocation:
    """A straight edge dislocation along the beam, in any pair of orthonormal axes.

    Parameters
    ----------
    at_nm : tuple of float
        Core.
    burgers_nm : tuple of float
        Projected Burgers vector.
    poisson_ratio : float
        Of the isotropic medium.
    slips : bool
        False where the slip itself is that of a stacking fault which ends here: only the strain of the core is added.
    """

    at_nm: tuple[float, float]
    burgers_nm: tuple[float, float]
    poisson_ratio: float
    slips: bool = True

    def displacement(self, points_nm: np.ndarray, far_nm: float) -> np.ndarray:
        """(N, 2) displacement, nm.

        Isotropic Volterra field (Hirth and Lothe, Theory of Dislocations, eqs. 3-45 and 3-46). The cut runs from the
        core against the Burgers vector: it is a glide cut, across which a lattice vector brings the crystal back to
        itself without adding or removing material.

        Parameters
        ----------
        points_nm : numpy.ndarray
            (N, 2) points of the perfect crystal.
        far_nm : float
            Distance at which the logarithmic term is zero: it moves no more than the size of the view asks for.
        """
        b = float(np.hypot(*self.burgers_nm))
        along = np.asarray(self.burgers_nm) / b
        across = np.array([-along[1], along[0]])
        relative = points_nm - np.asarray(self.at_nm)
        x, y = relative @ along, relative @ across
        square = np.maximum(x * x + y * y, FROZEN_NM**2)
        nu = self.poisson_ratio
        # Columns on the cut itself all go with one side, whatever the rounding of their coordinates.
        angle = np.arctan2(np.where(np.abs(y) < 1e-9, 0.0, y), x) if self.slips else 0.0
        u = angle + x * y / (2 * (1 - nu) * square)
        v = -((1 - 2 * nu) * np.log(square / far_nm**2) + (x * x - y * y) / square) / (4 * (1 - nu))
        return np.asarray(b / (2 * np.pi) * (u[:, None] * along + v[:, None] * across))

    def distance(self, points_nm: np.ndarray) -> np.ndarray:
        """(N,) distance from the core, nm."""
        return np.asarray(np.hypot(*(points_nm - np.asarray(self.at_nm)).T))


def draw_cores(config: DefectConfig, view: View, rng: np.random.Generator) -> list[np.ndarray]:
    """Points (y, x) of dislocation cores, nm, that keep a distance from each other."""
    half = CENTRAL_PART * 0.5 * np.asarray(view.size_nm)
    cores: list[np.ndarray] = []
    for _ in range(integer(rng, config.dislocation_number)):
        core = rng.uniform(-half, half)
        if all(np.hypot(*(core - other)) > APART_NM for other in cores):
            cores.append(core)
    return cores


def lattice_dislocations(
    config: DefectConfig, view: View, vectors_yx_nm: np.ndarray, rng: np.random.Generator
) -> tuple[Dislocation, ...]:
    """Random dislocations whose Burgers vectors are lattice vectors (n, 2), in image axes (y, x)."""
    ratio = uniform(rng, config.poisson_ratio)
    result = []
    for core in draw_cores(config, view, rng):
        burgers = vectors_yx_nm[int(rng.integers(len(vectors_yx_nm)))] * rng.choice([-1.0, 1.0])
        result.append(Dislocation((float(core[0]), float(core[1])), (float(burgers[0]), float(burgers[1])), ratio))
    return tuple(result)


def moved_by(dislocations: tuple[Dislocation, ...], points_nm: np.ndarray, far_nm: float) -> np.ndarray:
    """(N, 2) sum of the displacements, nm."""
    total = np.zeros_like(points_nm)
    for dislocation in dislocations:
        total += dislocation.displacement(points_nm, far_nm)
    return total


def core_distance(dislocations: tuple[Dislocation, ...], points_nm: np.ndarray) -> np.ndarray:
    """(N,) distance from the nearest core, nm; infinite without one."""
    distance = np.full(len(points_nm), np.inf)
    for dislocation in dislocations:
        distance = np.minimum(distance, dislocation.distance(points_nm))
    return distance


def apart(points_nm: np.ndarray, near_core: np.ndarray) -> np.ndarray:
    """(N,) bool, False for columns near a core that the field pushed onto another one."""
    keep = np.ones(len(points_nm), bool)
    members = np.flatnonzero(near_core)
    delta = np.hypot(*np.moveaxis(points_nm[members, None] - points_nm[None, members], -1, 0))
    for i in range(1, len(members)):
        keep[members[i]] = not np.any((delta[i, :i] < SAME_COLUMN_NM) & keep[members[:i]])
    return keep


def layered_dislocations(
    config: DefectConfig,
    view: View,
    frame: RowFrame,
    step_nm: float,
    occupancy: tuple[float, float],
    *,
    rng: np.random.Generator,
) -> tuple[tuple[Dislocation, ...], tuple[Fault, ...]]:
    """Dislocations of one kind in a layered crystal, in its axes (u, v), and the O1 faults that partials bound.

    Parameters
    ----------
    config : DefectConfig
        Ranges.
    view : View
        Size of the image.
    frame : RowFrame
        Where the rows lie.
    step_nm : float
        Lateral step from one metal row to the next: a third of the row period times the stacking sense.
    occupancy : tuple of float
        Range of the Ni fraction of interlayer sites in an O1 gap.
    rng : numpy.random.Generator
        Randomness.
    """
    kind = config.dislocation_kinds[int(rng.integers(len(config.dislocation_kinds)))]
    ratio = uniform(rng, config.poisson_ratio)
    dislocations: list[Dislocation] = []
    faults: list[Fault] = []
    for core in draw_cores(config, view, rng):
        u, v = (float(x) for x in frame.to_uv(core))
        if kind == "plane":
            # The lattice vector from one metal row to the next: what ends at the core is a whole (003) layer.
            sign = float(rng.choice([-1.0, 1.0]))
            dislocations.append(Dislocation((u, v), (sign * step_nm, sign * 2 * frame.row_nm), ratio))
            continue
        row = 2 * round(v / frame.row_nm / 2) + 1
        if any(abs(row - fault.row) < 4 for fault in faults):
            continue  # their faults would meet
        dislocation, fault = partial_dislocation((u, row), int(rng.choice([-1, 2])), view, frame, step_nm, rng=rng)
        dislocations.append(replace(dislocation, poisson_ratio=ratio))
        faults.append(replace(fault, occupancy=uniform(rng, occupancy)))
    return tuple(dislocations), tuple(faults)


def clear_faults(
    faults: tuple[Fault, ...], dislocations: tuple[Dislocation, ...], bounded: tuple[Fault, ...], frame: RowFrame
) -> tuple[Fault, ...]:
    """The faults that meet no core, and none of the faults that the dislocations bound.

    A fault that crosses the glide cut of a dislocation goes on one lattice vector further: it gets a step, as in a real
    crystal.
    """
    return tuple(
        fault
        for fault in faults
        if all(abs(fault.row - other.row) >= 4 for other in bounded)
        and all(_gap_nm(fault, dislocation, frame) > FAULT_FREE_NM for dislocation in dislocations)
    )


def _gap_nm(fault: Fault, dislocation: Dislocation, frame: RowFrame) -> float:
    """Distance of a core from a fault."""
    u, v = dislocation.at_nm
    beside = max(fault.u_nm[0] - u, 0.0, u - fault.u_nm[1])
    return float(np.hypot(beside, v - fault.row * frame.row_nm))


def partial_dislocation(
    at: tuple[float, int], slip: int, view: View, frame: RowFrame, step_nm: float, *, rng: np.random.Generator
) -> tuple[Dislocation, Fault]:
    """A Shockley partial at (u in nm, interlayer row) and its fault, which leaves the view on a random side.

    The partials a/sqrt(3) of the layers have projections of two thirds of the row period (0.166 nm, the edge one:
    slip 2) and of one third (slip -1). The fault's own field carries the slip.
    """
    u, row = at
    right = bool(rng.random() < 0.5)
    end = FAR * view.radius_nm
    fault = Fault(row, (u, end) if right else (-end, u), slip, 0.0)
    # A fault to the right displaces by -slip times the polar angle over 2 pi, one to the left by +slip.
    burgers = (-slip * step_nm if right else slip * step_nm, 0.0)
    return Dislocation((u, row * frame.row_nm), burgers, 0.3, slips=False), fault
