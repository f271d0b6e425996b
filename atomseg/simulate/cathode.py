"""A layered-oxide cathode seen along a close-packed row: cation rows, stacking, faults and reconstruction."""

from dataclasses import dataclass, replace

import numpy as np

from atomseg.crystal import haadf_weight, load_crystal
from atomseg.simulate.faults import Fault, slip_displacement
from atomseg.simulate.layer import Layer, Patches, layer_occupancy
from atomseg.simulate.sampling import SmoothField, uniform
from atomseg.simulate.specimen import INTERLAYER, OXYGEN, TM, RowFrame, Sites, View, join
from atomseg.simulate.specimen_config import LatticeConfig
from atomseg.simulate.surface import Outline
from atomseg.types import Phase

# Half heights of the oxygen layers around a TM row, as fractions of the cation row spacing: 0.106 nm of 0.2365 nm in
# the layered crystal (z_O = 0.2585), midway between the rows in rocksalt.
OXYGEN_LAYERED, OXYGEN_ROCKSALT = 0.449, 0.5


@dataclass(frozen=True)
class Lattice:
    """One layered domain.

    Parameters
    ----------
    a_nm, c_nm : float
        Hexagonal lattice constants, nm.
    rotation_deg : float
        Direction of the rows, degrees from +x towards +y.
    sense : int
        Stacking sense: TM rows step by sense/3 of the row period along +v.
    twin_row : int or None
        TM row above which the sense is reversed.
    origin_nm : tuple of float
        Offset (u, v) of the lattice, nm.
    antisite : float
        Ni fraction of interlayer sites in the bulk.
    exponent, mixing_exponent : float
        See `LatticeConfig`.
    strain : tuple of SmoothField
        Smooth displacement (y, x), unit variance.
    strain_nm : float
        Its rms, nm.
    displacement_nm : float
        Random displacement of each column, nm rms.
    """

    a_nm: float
    c_nm: float
    rotation_deg: float
    sense: int
    twin_row: int | None
    origin_nm: tuple[float, float]
    antisite: float
    exponent: float
    mixing_exponent: float
    strain: tuple[SmoothField, SmoothField]
    strain_nm: float
    displacement_nm: float

    @property
    def period_nm(self) -> float:
        """Period along a row, nm: a sqrt(3) / 2."""
        return self.a_nm * np.sqrt(3.0) / 2.0

    @property
    def row_nm(self) -> float:
        """Spacing of cation rows, nm: c / 6."""
        return self.c_nm / 6.0

    @property
    def frame(self) -> RowFrame:
        """Where the rows lie."""
        return RowFrame(self.rotation, self.row_nm, self.origin_nm)

    @property
    def rotation(self) -> np.ndarray:
        """(2, 2): rows are the unit vectors (y, x) along u (the rows) and v (across them)."""
        angle = np.deg2rad(self.rotation_deg)
        return np.array([[np.sin(angle), np.cos(angle)], [np.cos(angle), -np.sin(angle)]])


@dataclass(frozen=True)
class Reconstruction:
    """What the surfaces did to a layered crystal.

    Parameters
    ----------
    outline : Outline
        Faces.
    layers : tuple of Layer
        The layer below each.
    patches : Patches or None
        Islands that stayed layered.
    faults : tuple of Fault
        O1 gaps.
    """

    outline: Outline = Outline()  # noqa: RUF009  # frozen
    layers: tuple[Layer, ...] = ()
    patches: Patches | None = None
    faults: tuple[Fault, ...] = ()


def draw_lattice(
    config: LatticeConfig, view: View, rng: np.random.Generator, *, twin: bool, rotation_deg: float | None = None
) -> Lattice:
    """Random layered domain."""
    strain_length = uniform(rng, (2.0, 8.0))
    row_nm = 0.2365
    reach = 0.6 * view.radius_nm / row_nm
    return Lattice(
        a_nm=uniform(rng, config.a_nm),
        c_nm=uniform(rng, config.c_nm),
        rotation_deg=uniform(rng, config.rotation_deg) if rotation_deg is None else rotation_deg,
        sense=int(rng.choice(config.senses)),
        twin_row=2 * round(rng.uniform(-reach, reach) / 2) if twin else None,
        origin_nm=(float(rng.uniform(-0.15, 0.15)), float(rng.uniform(-0.25, 0.25))),
        antisite=_antisite(config, rng),
        exponent=uniform(rng, config.exponent),
        mixing_exponent=uniform(rng, config.mixing_exponent),
        strain=(
            SmoothField(rng, view.extent_nm, (strain_length, strain_length)),
            SmoothField(rng, view.extent_nm, (strain_length, strain_length)),
        ),
        strain_nm=uniform(rng, config.strain_rms) * strain_length,
        displacement_nm=1e-3 * uniform(rng, config.displacement_pm),
    )


def _antisite(config: LatticeConfig, rng: np.random.Generator) -> float:
    # Good crystals have a few per cent; the strongly mixed ones are the rare end of the range.
    low, high = config.antisite
    return float(low + (high - low) * rng.random() ** 2.5)


def row_offsets(lattice: Lattice, rows: np.ndarray) -> np.ndarray:
    """(len(rows),) lateral offset of cation rows in periods: each steps by -sense/3 (+sense/3 in a twin)."""
    sense = np.full(len(rows), lattice.sense, float)
    if lattice.twin_row is None:
        return np.asarray(-sense * rows / 3.0)
    above = rows > lattice.twin_row
    return np.where(above, -sense * (2 * lattice.twin_row - rows) / 3.0, -sense * rows / 3.0)


def build_cathode(lattice: Lattice, view: View, change: Reconstruction, rng: np.random.Generator) -> Sites:
    """All columns of a layered domain in the view: TM, interlayer and oxygen.

    Signals are relative to a full TM column; the thickness of the foil is not in them yet, and the occupancy of
    interlayer columns is the local mean: `settle_occupancy` draws the atoms.
    """
    u, row = _grid(lattice, view)
    third = lattice.period_nm / 3.0 * _sense(lattice, row)
    shift, fault_index = slip_displacement(
        change.faults, u, row, lattice.row_nm, lattice.sense * lattice.period_nm / 3.0
    )
    yx = lattice.frame.to_yx(u + shift, row)
    inside = view.inside(yx, 0.5)
    u, yx, row, third, fault_index = (a[inside] for a in (u + shift, yx, row, third, fault_index))
    mean = mean_occupancy(lattice, change, yx)
    gap = np.where(mean >= 0.5, Phase.ROCKSALT, Phase.LAYERED)
    for i, fault in enumerate(change.faults):
        members = fault_index == i
        mean[members] = fault.occupancy
        gap[members] = Phase.O1
    is_tm = row % 2 == 0
    phase, alt = _phases(u, row, lattice, gap, mean)
    cations = Sites(
        yx_nm=yx,
        weight=np.ones(len(yx)),
        species=np.where(is_tm, TM, INTERLAYER).astype(np.int8),
        occupancy=np.where(is_tm, 1.0, mean),
        mean_occupancy=mean,
        phase=phase,
        phase_alt=alt,
        lattice_uv=np.stack([u, row], axis=1),
        domain=np.zeros(len(yx), np.int8),
    )
    return _displace(lattice, _with_oxygen(lattice, cations, third), rng)


def mean_occupancy(lattice: Lattice, change: Reconstruction, yx_nm: np.ndarray) -> np.ndarray:
    """(N,) mean Ni fraction of an interlayer site at each point, faults left out."""
    y, x = yx_nm[:, 0], yx_nm[:, 1]
    uv = lattice.frame.to_uv(yx_nm)
    patches = change.patches
    islands = None if patches is None else patches.field(uv[:, 1], uv[:, 0]) > patches.threshold
    mean = np.full(len(y), lattice.antisite)
    for face, layer in zip(change.outline.faces, change.layers, strict=True):
        mean = np.maximum(mean, layer_occupancy(face, layer, y, x, islands=islands, bulk=lattice.antisite))
    return mean


def _sense(lattice: Lattice, row: np.ndarray) -> np.ndarray:
    """(N,) stacking sense at each row."""
    if lattice.twin_row is None:
        return np.full(len(row), lattice.sense)
    return np.where(row > lattice.twin_row, -lattice.sense, lattice.sense)


def _grid(lattice: Lattice, view: View) -> tuple[np.ndarray, np.ndarray]:
    """(u, row) of all cation sites of the perfect crystal in a circle around the view."""
    radius = view.radius_nm + 0.3
    rows = np.arange(-int(radius / lattice.row_nm) - 1, int(radius / lattice.row_nm) + 2)
    cells = np.arange(-int(radius / lattice.period_nm) - 2, int(radius / lattice.period_nm) + 3)
    offset = row_offsets(lattice, rows)
    u = (cells[None, :] + (offset - np.floor(offset))[:, None]) * lattice.period_nm
    row = np.broadcast_to(rows[:, None], u.shape)
    keep = u**2 + (row * lattice.row_nm) ** 2 < radius**2
    return u[keep], row[keep]


def _phases(
    u: np.ndarray, row: np.ndarray, lattice: Lattice, gap: np.ndarray, mean: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Phase and acceptable other phase of each cation column; a TM column borders two gaps."""
    phase = gap.astype(np.uint8)
    alt = np.zeros(len(gap), np.uint8)
    near_front = (np.abs(mean - 0.5) < 0.2) & (gap != Phase.O1)
    alt[near_front] = np.where(gap[near_front] == Phase.ROCKSALT, Phase.LAYERED, Phase.ROCKSALT)
    below, above = _gap_neighbours(u, row, lattice, gap)
    tm = np.flatnonzero(row % 2 == 0)
    o1_below, o1_above = below == Phase.O1, above == Phase.O1
    both, one = o1_below & o1_above, o1_below ^ o1_above
    other = np.where(o1_below, above, below)
    phase[tm[both]] = Phase.O1
    alt[tm[both]] = Phase.NONE
    phase[tm[one]] = other[one]
    alt[tm[one]] = Phase.O1
    split = ~(o1_below | o1_above) & (below != above)
    alt[tm[split]] = np.where(phase[tm[split]] == Phase.ROCKSALT, Phase.LAYERED, Phase.ROCKSALT)
    return phase, alt


def _gap_neighbours(u: np.ndarray, row: np.ndarray, lattice: Lattice, gap: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Phase of the interlayer site nearest in u in the row below and in the row above, for each TM column."""
    # One sortable key a site: rows lie further apart than any u, so a bisection finds the nearest u in a given row.
    stride = 1e3
    is_tm = row % 2 == 0
    sites = np.flatnonzero(~is_tm)
    if len(sites) == 0:
        nothing = gap[is_tm]
        return nothing, nothing
    key = row[sites] * stride + u[sites]
    order = np.argsort(key)
    key, sites = key[order], sites[order]
    found = []
    for step in (-1, 1):
        want = (row[is_tm] + step) * stride + u[is_tm]
        right = np.clip(np.searchsorted(key, want), 1, len(key) - 1) if len(key) > 1 else np.zeros(len(want), int)
        left = np.maximum(right - 1, 0)
        nearest = np.where(np.abs(key[left] - want) <= np.abs(key[right] - want), left, right)
        hit = np.abs(key[nearest] - want) < lattice.period_nm
        found.append(np.where(hit, gap[sites[nearest]], gap[is_tm]))
    return found[0], found[1]


def _with_oxygen(lattice: Lattice, cations: Sites, third: np.ndarray) -> Sites:
    """Cations with the two oxygen columns of each TM column appended, and signals by Z^n."""
    metal = load_crystal("NMC811").sites[0].occupants
    tm_weight = haadf_weight(metal, lattice.exponent)
    lithium = haadf_weight({"Li": 1.0}, lattice.exponent) / tm_weight
    oxygen = haadf_weight({"O": 1.0}, lattice.exponent) / tm_weight
    x = cations.occupancy
    interlayer = x**lattice.mixing_exponent + (1.0 - x) * lithium
    is_tm = cations.species == TM
    cations = cations.with_weight(np.where(is_tm, 1.0, interlayer))
    height = lattice.row_nm * (
        OXYGEN_LAYERED + (OXYGEN_ROCKSALT - OXYGEN_LAYERED) * np.minimum(cations.mean_occupancy[is_tm], 1.0)
    )
    parts = [cations]
    for side in (1.0, -1.0):
        near = cations.take(np.flatnonzero(is_tm))
        offset = np.stack([side * third[is_tm], side * height], axis=1) @ lattice.rotation
        parts.append(
            replace(
                near,
                yx_nm=near.yx_nm + offset,
                weight=np.full(len(near), oxygen),
                species=np.full(len(near), OXYGEN, np.int8),
            )
        )
    return join(parts)


def _displace(lattice: Lattice, sites: Sites, rng: np.random.Generator) -> Sites:
    """Sites moved by the smooth strain and by static displacements."""
    y, x = sites.yx_nm[:, 0], sites.yx_nm[:, 1]
    smooth = np.stack([lattice.strain[0](y, x), lattice.strain[1](y, x)], axis=1) * lattice.strain_nm
    static = rng.standard_normal(sites.yx_nm.shape) * lattice.displacement_nm
    return replace(sites, yx_nm=sites.yx_nm + smooth + static)


def settle_occupancy(sites: Sites, thickness_nm: np.ndarray, lattice: Lattice, rng: np.random.Generator) -> Sites:
    """Draw the atoms of each interlayer column: a binomial of its number of atoms around the local mean.

    The signal follows the drawn occupancy with a further scatter, because an impurity counts differently at different
    depths (10.1038/srep12419): about a tenth of the signal for half-filled columns.
    """
    is_li = sites.species == INTERLAYER
    atoms = np.maximum(np.round(thickness_nm[is_li] / lattice.a_nm), 1).astype(int)
    drawn = rng.binomial(atoms, np.clip(sites.mean_occupancy[is_li], 0.0, 1.0)) / atoms
    lithium = haadf_weight({"Li": 1.0}, lattice.exponent) / haadf_weight({"Ni": 1.0}, lattice.exponent)
    depth_scatter = 1.0 + 0.25 * np.sqrt(drawn * (1.0 - drawn)) * rng.standard_normal(len(drawn))
    signal = drawn**lattice.mixing_exponent * np.maximum(depth_scatter, 0.3) + (1.0 - drawn) * lithium
    occupancy, weight = sites.occupancy.copy(), sites.weight.copy()
    occupancy[is_li], weight[is_li] = drawn, signal
    return replace(sites, occupancy=occupancy, weight=weight)
