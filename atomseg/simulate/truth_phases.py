"""True phases: of pixels, columns and gaps."""

import numpy as np
import pandas as pd
from scipy.ndimage import distance_transform_edt
from scipy.spatial import cKDTree

from atomseg.simulate.record import no_rows
from atomseg.simulate.scan import Scan
from atomseg.simulate.specimen import INTERLAYER, LINE, OXYGEN, Sites
from atomseg.simulate.structure import Structure
from atomseg.types import LatticeFrame, Phase, PhaseMap
from atomseg.types.phases import PHASE_FIELDS

GAP_FIELDS = ("y_nm", "x_nm", "row_lower", "row_upper", "shift", "shift_err", "occupancy", "occupancy_err", "phase")
# Crystal reaches half a cation row spacing (0.118 nm) beyond the centres of its outermost columns.
OUTLINE_NM = 0.12
# Discs of this radius around columns overlap everywhere in a layered crystal, across domain boundaries too ...
CLOSING_NM = 0.34
# ... and in the other lattices, the widest of which has 0.6 nm between columns.
CLOSING_OTHER_NM = 0.45
# Distances along the rows count this much less than across them: a pixel looks for its gap, a band along the rows.
ALONG_WEIGHT = 0.35


def crystal_mask(structure: Structure, scan: Scan) -> np.ndarray:
    """(H, W) bool, True inside the crystal's faces: fast, and on average right for an outline around columns."""
    if structure.kind == "nothing":
        return np.zeros(scan.shape, bool)
    if not structure.outline.faces:
        return np.ones(scan.shape, bool)
    y, x = scan.axes_nm()
    return np.asarray(np.max([face.depth_grid(y, x) for face in structure.outline.faces], axis=0) > 0)


def crystal_outline(structure: Structure, scan: Scan, pixels: np.ndarray) -> np.ndarray:
    """(H, W) bool, True up to `OUTLINE_NM` beyond the outermost columns, holes between columns filled.

    Parameters
    ----------
    structure : Structure
        The specimen.
    scan : Scan
        Sampling.
    pixels : numpy.ndarray
        (N, 2) positions of all columns of the structure, pixels.
    """
    if structure.kind == "nothing":
        return np.zeros(scan.shape, bool)
    sites = structure.sites
    seen = (sites.species != OXYGEN) & ((sites.species != INTERLAYER) | (sites.occupancy >= 0.1))
    closing = CLOSING_NM if structure.kind == "cathode" else CLOSING_OTHER_NM
    margin = int(np.ceil(0.5 / min(scan.pixel_size_nm)))
    at = np.round(pixels[seen]).astype(np.intp) + margin
    shape = (scan.shape[0] + 2 * margin, scan.shape[1] + 2 * margin)
    at = at[np.all((at >= 0) & (at < shape), axis=1)]
    if len(at) == 0:
        return np.zeros(scan.shape, bool)
    empty = np.ones(shape, bool)
    empty[at[:, 0], at[:, 1]] = False
    grown = distance_transform_edt(empty, sampling=scan.pixel_size_nm) <= closing
    if not grown.all():
        # Beyond the frame the crystal goes on as it ends there; the frame itself is cropped off.
        grown = distance_transform_edt(np.pad(grown, 1, mode="edge"), sampling=scan.pixel_size_nm)[1:-1, 1:-1] > (
            closing - OUTLINE_NM
        )
    return np.asarray(grown[margin:-margin, margin:-margin])


def empty_phases(shape: tuple[int, int], crystal: np.ndarray) -> PhaseMap:
    """A phase map that only says where crystal is."""
    return PhaseMap(
        labels=np.where(crystal, Phase.UNRESOLVED, Phase.NONE).astype(np.uint8),
        confidence=np.ones(shape, np.float32),
        occupancy=np.full(shape, np.nan, np.float32),
        columns=no_rows(PHASE_FIELDS),
        gaps=no_rows(GAP_FIELDS),
    )


def phase_map(structure: Structure, scan: Scan, pixels: np.ndarray, shown: np.ndarray, crystal: np.ndarray) -> PhaseMap:
    """True phases.

    Parameters
    ----------
    structure : Structure
        The specimen.
    scan : Scan
        Sampling.
    pixels : numpy.ndarray
        (N, 2) positions of all columns of the structure, pixels.
    shown : numpy.ndarray
        Index of the columns that the truth table lists.
    crystal : numpy.ndarray
        (H, W) bool from `crystal_outline`.
    """
    labels, occupancy = pixel_phases(structure, scan, pixels, crystal)
    return PhaseMap(
        labels=labels,
        confidence=np.ones(scan.shape, np.float32),
        occupancy=occupancy,
        columns=_column_phases(structure, shown),
        gaps=_gaps(structure, scan, pixels, shown),
        frames=_frames(structure, scan, shown),
    )


def pixel_phases(
    structure: Structure, scan: Scan, pixels: np.ndarray, crystal: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """(H, W) uint8 phase codes and (H, W) float32 mean interlayer occupancy, of the gap that each pixel lies in."""
    labels = np.where(crystal, Phase.UNRESOLVED, Phase.NONE).astype(np.uint8)
    occupancy = np.full(scan.shape, np.nan, np.float32)
    sites = structure.sites
    where = np.argwhere(crystal)
    if structure.kind != "cathode" or len(where) == 0:
        return labels, occupancy
    domain = _pixel_domain(structure, scan, pixels, where)
    for number, lattice in enumerate(structure.lattices):
        gap = np.flatnonzero((sites.species == INTERLAYER) & (sites.domain == number))
        mine = where[domain == number]
        if len(gap) == 0 or len(mine) == 0:
            continue
        frame = np.asarray(scan.pixel_size_nm)[:, None] * lattice.rotation.T * np.array([ALONG_WEIGHT, 1.0])
        nearest = gap[cKDTree(pixels[gap] @ frame).query(mine @ frame)[1]]
        labels[mine[:, 0], mine[:, 1]] = gap_phase(sites)[nearest]
        occupancy[mine[:, 0], mine[:, 1]] = sites.mean_occupancy[nearest]
    return labels, occupancy


def gap_phase(sites: Sites) -> np.ndarray:
    """(N,) phase of the gap around each interlayer site: O1 as stacked, else by the mean occupancy."""
    by_occupancy = np.where(sites.mean_occupancy >= 0.5, Phase.ROCKSALT, Phase.LAYERED)
    return np.where(sites.phase == Phase.O1, Phase.O1, by_occupancy).astype(np.uint8)


def _pixel_domain(structure: Structure, scan: Scan, pixels: np.ndarray, where: np.ndarray) -> np.ndarray:
    """(n,) domain of pixels: that of the nearest column; -1 in a grain out of its zone."""
    if structure.boundary is None:
        return np.zeros(len(where), np.int8)
    sites = structure.sites
    known = np.flatnonzero(sites.species != OXYGEN)
    size = np.asarray(scan.pixel_size_nm)
    nearest = known[cKDTree(pixels[known] * size).query(where * size)[1]]
    return np.where(sites.species[nearest] == LINE, -1, sites.domain[nearest])


def _column_phases(structure: Structure, shown: np.ndarray) -> pd.DataFrame:
    """`PHASE_FIELDS` of the listed columns."""
    sites = structure.sites.take(shown)
    unresolved = structure.kind != "cathode"
    phase = np.full(len(shown), int(Phase.UNRESOLVED)) if unresolved else sites.phase.astype(int)
    gap = sites.species == INTERLAYER
    return pd.DataFrame(
        {
            "phase": phase,
            "p_layered": (phase == Phase.LAYERED).astype(float),
            "p_rocksalt": (phase == Phase.ROCKSALT).astype(float),
            "p_o1": (phase == Phase.O1).astype(float),
            "p_unresolved": (phase == Phase.UNRESOLVED).astype(float),
            "row_id": sites.lattice_uv[:, 1].astype(int),
            "stacking_shift": np.where(gap, _shift(structure, sites), np.nan),
            "interlayer_occupancy": np.where(gap, sites.mean_occupancy, np.nan),
            "interlayer_occupancy_err": np.where(gap, 0.0, np.nan),
        }
    )[list(PHASE_FIELDS)]


def _shift(structure: Structure, sites: Sites) -> np.ndarray:
    """(N,) lateral shift of the TM row above a gap against the one below it, in periods: 0 in O1, else sense/3."""
    shift = np.zeros(len(sites))
    for number, lattice in enumerate(structure.lattices):
        twin = np.inf if lattice.twin_row is None else lattice.twin_row
        sense = np.where(sites.lattice_uv[:, 1] > twin, -lattice.sense, lattice.sense)
        shift = np.where(sites.domain == number, sense / 3.0, shift)
    return np.where(sites.phase == Phase.O1, 0.0, shift)


def _gaps(structure: Structure, scan: Scan, pixels: np.ndarray, shown: np.ndarray) -> pd.DataFrame:
    """One row a gap: its interlayer site stands in the middle."""
    if structure.kind != "cathode":
        return no_rows(GAP_FIELDS)
    index = shown[structure.sites.species[shown] == INTERLAYER]
    sites = structure.sites.take(index)
    row = sites.lattice_uv[:, 1].astype(int)
    zero = np.zeros(len(index))
    return pd.DataFrame(
        {
            "y_nm": pixels[index, 0] * scan.pixel_size_nm[0],
            "x_nm": pixels[index, 1] * scan.pixel_size_nm[1],
            "row_lower": row - 1,
            "row_upper": row + 1,
            "shift": _shift(structure, sites),
            "shift_err": zero,
            "occupancy": sites.mean_occupancy,
            "occupancy_err": zero,
            "phase": gap_phase(sites).astype(int),
        }
    )[list(GAP_FIELDS)]


def _frames(structure: Structure, scan: Scan, shown: np.ndarray) -> tuple[LatticeFrame, ...]:
    """Mean frames of the domains as imaged, the larger first."""
    frames = []
    for number, lattice in enumerate(structure.lattices):
        row = scan.matrix @ (lattice.rotation[0] * lattice.period_nm)
        normal = np.array([row[1], -row[0]]) / np.linalg.norm(row)
        area = abs(np.linalg.det(scan.matrix)) * lattice.period_nm * lattice.row_nm
        stack = normal * area / np.linalg.norm(row) * np.sign(normal @ (scan.matrix @ lattice.rotation[1]))
        count = int((structure.sites.domain[shown] == number).sum())
        frames.append(LatticeFrame((float(row[0]), float(row[1])), (float(stack[0]), float(stack[1])), count))
    return tuple(sorted(frames, key=lambda frame: -frame.n_columns))
