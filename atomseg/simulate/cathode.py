"""A layered-oxide cathode seen along a close-packed row: cation rows, stacking, faults and reconstruction."""

from dataclasses import dataclass, replace

import numpy as np

from atomseg.crystal import haadf_weight, load_crystal
from atomseg.simulate.defects import Defects
from atomseg.simulate.dislocations import apart, core_distance, moved_by
from atomseg.simulate.faults import Fault, slip_displacement
from atomseg.simulate.layer import Layer, Patches, layer_occupancy
from atomseg.simulate.sampling import SmoothField, happens, uniform
from atomseg.simulate.spacing import expanded, largest_move_nm, opened
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
    exchanged : float
        Li fraction of TM sites in the bulk.
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
    exchanged: float = 0.0

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
    defects : Defects
        What else is wrong with it.
    """

    outline: Outline = Outline()  # noqa: RUF009  # frozen
    layers: tuple[Layer, ...] = ()
    patches: Patches | None = None
    faults: tuple[Fault, ...] = ()
    defects: Defects = Defects()  # noqa: RUF009  # frozen


def draw_strain(
    config: LatticeConfig, view: View, rng: np.random.Generator
) -> tuple[tuple[SmoothField, SmoothField], float]:
    """Smooth displacement (y, x) of unit variance, and its rms in nm."""
    length = uniform(rng, (2.0, 8.0))
    rms = uniform(rng, config.strain_rms) * length
    return (SmoothField(rng, view.extent_nm, (length, length)), SmoothField(rng, view.extent_nm, (length, length))), rms


def draw_lattice(
    config: LatticeConfig, view: View, rng: np.random.Generator, *, twin: bool, rotation_deg: float | None = None
) -> Lattice:
    """Random layered domain."""
    strain_length = uniform(rng, (2.0, 8.0))
    row_nm = 0.2365
    reach = 0.6 * view.radius_nm / row_nm
    lattice = Lattice(
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
    if happens(rng, config.p_exchange):
        lattice = replace(lattice, exchanged=uniform(rng, config.exchange) * lattice.antisite)
    return lattice


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
    moved_nm = largest_move_nm(change.outline, change.layers, change.faults, lattice.frame, lattice.period_nm)
    u, row = _grid(lattice, view, moved_nm)
    third = lattice.period_nm / 3.0 * sense_at(lattice, row)
    shift, fault_index = slip_displacement(
        change.faults, u, row, lattice.row_nm, lattice.sense * lattice.period_nm / 3.0
    )
    across = row * lattice.row_nm + opened(change.faults, u, row, lattice.row_nm)
    yx, judged, kept = _placed(lattice, view, change, np.stack([u + shift, across], axis=1))
    u, row, third, fault_index = (a[kept] for a in (u + shift, row, third, fault_index))
    mean = mean_occupancy(lattice, change, yx)
    gap = np.where(mean >= 0.5, Phase.ROCKSALT, Phase.LAYERED)
    for i, fault in enumerate(change.faults):
        members = fault_index == i
        mean[members] = change.defects.overlap + (1.0 - change.defects.overlap) * fault.occupancy
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
        judged=judged,
    )
    return _displace(lattice, _with_oxygen(lattice, cations, third), rng)


def _placed(
    lattice: Lattice, view: View, change: Reconstruction, uv_nm: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lattice points moved by all but strain: (y, x), judged or not, and the index of those in view."""
    defects = change.defects
    near = np.zeros(len(uv_nm), bool)
    apart_enough = ~near
    if defects.dislocations:
        uv_nm = uv_nm + moved_by(defects.dislocations, uv_nm, view.radius_nm)
        distance = core_distance(defects.dislocations, uv_nm)
        near = distance < defects.core_radius_nm
        apart_enough = apart(uv_nm, distance < 2 * defects.core_radius_nm)
    yx = lattice.frame.to_yx(uv_nm[:, 0], uv_nm[:, 1] / lattice.row_nm)
    if defects.bend is not None:
        yx = yx + defects.bend.displacement(yx)
    yx = yx + expanded(change.outline, change.layers, lattice.frame, lattice.period_nm, yx)
    kept = np.flatnonzero(view.inside(yx, 0.5) & apart_enough)
    return yx[kept], ~near[kept], kept


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


def sense_at(lattice: Lattice, row: np.ndarray) -> np.ndarray:
    """(N,) stacking sense at each row."""
    if lattice.twin_row is None:
        return np.full(len(row), lattice.sense)
    return np.where(row > lattice.twin_row, -lattice.sense, lattice.sense)


def _grid(lattice: Lattice, view: View, moved_nm: float) -> tuple[np.ndarray, np.ndarray]:
    """(u, row) of all cation sites of the perfect crystal in a circle around the view."""
    radius = view.radius_nm + 0.3 + moved_nm
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
