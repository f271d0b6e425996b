"""The specimen before imaging: columns with their signal, in nm around the image centre."""

from dataclasses import dataclass, fields, replace

import numpy as np

# Species codes; names go to the truth table.
TM, INTERLAYER, OXYGEN, ATOM, LINE = 0, 1, 2, 3, 4
SPECIES_NAMES = ("TM", "Li", "O", "atom", "mixed")


@dataclass(frozen=True)
class Sites:
    """Columns of one domain.

    Parameters
    ----------
    yx_nm : numpy.ndarray
        (N, 2) float64 positions from the image centre, nm, before scan distortion.
    weight : numpy.ndarray
        (N,) float64 signal relative to a full TM column (the brightest column elsewhere) of the reference thickness.
    species : numpy.ndarray
        (N,) int8, one of TM, INTERLAYER, OXYGEN, ATOM; LINE is signal that is no column.
    occupancy : numpy.ndarray
        (N,) float64 Ni fraction of interlayer columns (of tetrahedral ones beside them, which are ATOM); elsewhere 1
        less vacancies and lithium.
    mean_occupancy : numpy.ndarray
        (N,) float64 local mean of the interlayer occupancy, for the phase.
    phase, phase_alt : numpy.ndarray
        (N,) uint8 phase codes; `phase_alt` is 0 where no other phase is acceptable.
    lattice_uv : numpy.ndarray
        (N, 2) float64 position in the lattice frame: u along the rows in nm, v the cation row index (0 elsewhere).
    domain : numpy.ndarray
        (N,) int8, 0 for the first crystal domain, 1 for the second.
    judged : numpy.ndarray
        (N,) bool, False for columns whose place is not known well enough to be required (cores of dislocations).
    """

    yx_nm: np.ndarray
    weight: np.ndarray
    species: np.ndarray
    occupancy: np.ndarray
    mean_occupancy: np.ndarray
    phase: np.ndarray
    phase_alt: np.ndarray
    lattice_uv: np.ndarray
    domain: np.ndarray
    judged: np.ndarray

    def __len__(self) -> int:
        return len(self.weight)

    def take(self, index: np.ndarray) -> "Sites":
        """The columns of an index or mask."""
        return Sites(*(getattr(self, f.name)[index] for f in fields(self)))

    def with_weight(self, weight: np.ndarray) -> "Sites":
        """The same columns with other signals."""
        return replace(self, weight=weight)


def join(parts: list[Sites]) -> Sites:
    """Columns of several domains in one."""
    return Sites(*(np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(Sites)))


def plain_sites(yx_nm: np.ndarray, weight: np.ndarray, species: int) -> Sites:
    """Columns of one species that belong to no layered lattice."""
    n = len(weight)
    ones, code = np.ones(n), np.zeros(n, np.uint8)
    return Sites(
        yx_nm=yx_nm,
        weight=weight,
        species=np.full(n, species, np.int8),
        occupancy=ones,
        mean_occupancy=ones,
        phase=code,
        phase_alt=code,
        lattice_uv=np.zeros((n, 2)),
        domain=np.zeros(n, np.int8),
        judged=np.ones(n, bool),
    )


def empty_sites() -> Sites:
    """No columns."""
    return plain_sites(np.zeros((0, 2)), np.zeros(0), ATOM)


@dataclass(frozen=True)
class View:
    """The part of the specimen that the image shows.

    Parameters
    ----------
    size_nm : tuple of float
        (y, x) size of the image, nm.
    """

    size_nm: tuple[float, float]

    @property
    def radius_nm(self) -> float:
        """Radius of a circle around the image, with a margin for distortion and column tails."""
        return 0.5 * float(np.hypot(*self.size_nm)) * 1.06 + 0.6

    @property
    def extent_nm(self) -> tuple[float, float]:
        """(y, x) of a rectangle that holds the view at any rotation."""
        return (2 * self.radius_nm, 2 * self.radius_nm)

    def inside(self, yx_nm: np.ndarray, margin_nm: float) -> np.ndarray:
        """(N,) bool, True for points in the image grown by a margin."""
        half = np.asarray(self.size_nm) / 2 + margin_nm
        return np.all(np.abs(yx_nm) <= half, axis=1)


@dataclass(frozen=True)
class RowFrame:
    """Where the rows of a layered lattice lie.

    Parameters
    ----------
    rotation : numpy.ndarray
        (2, 2): the unit vectors (y, x) along the rows and across them.
    row_nm : float
        Spacing of cation rows, nm.
    origin_nm : tuple of float
        Position (u, v) of the lattice point in row 0, nm.
    """

    rotation: np.ndarray
    row_nm: float
    origin_nm: tuple[float, float]

    def to_yx(self, u_nm: np.ndarray, row: np.ndarray) -> np.ndarray:
        """(N, 2) specimen points, nm, of positions along rows."""
        uv = np.stack(np.broadcast_arrays(u_nm, np.asarray(row) * self.row_nm), axis=-1) + np.asarray(self.origin_nm)
        return np.asarray(uv @ self.rotation)

    def to_uv(self, yx_nm: np.ndarray) -> np.ndarray:
        """(N, 2) positions (u, v) along and across the rows from the lattice origin, nm."""
        return np.asarray(yx_nm @ self.rotation.T - np.asarray(self.origin_nm))
