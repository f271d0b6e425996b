"""O1 lamellae that run out of the reconstructed zone into the crystal: faults of the bulk, not of the layer."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation, distance_transform_edt, maximum
from skimage.measure import label

from atomseg.measure.morphology import closed, opened
from atomseg.measure.surface import Maps
from atomseg.types import Phase

# Half widths under which lamellae are looked for, nm: a grid step more than those of two gaps (0.96 nm) to a dozen.
HALF_WIDTHS_NM = (0.62, 0.86, 1.32, 1.9, 2.8)
# Grid on which they are looked for: a quarter of a gap.
STEP_NM = 0.12
# A lamella that leaves the zone further than so many of its widths is the bulk's; one that leaves the image on its way,
# further than its width. Shorter ones are the zone's ragged front.
LONGEST_WIDTHS, LONGEST_WIDTHS_IN_VIEW = 2.0, 1.0


def running_out(zone: np.ndarray, maps: Maps) -> tuple[np.ndarray, float]:
    """O1 of a zone that reaches out of it as narrow lamellae, and how far the longest does.

    An O1 lamella that the surface layer happens to touch can cross the whole crystal; were it part of the layer, every
    normal that meets it would end there. Lamellae no further from each other than they are wide are one wide body.

    Parameters
    ----------
    zone : numpy.ndarray
        (H, W) bool, reconstructed crystal that belongs to a surface.
    maps : Maps
        Phases on the same grid.

    Returns
    -------
    lamellae : numpy.ndarray
        (H, W) bool.
    length_nm : float
        Furthest point of one from what is left of the zone, nm; 0 where there is none.
    """
    o1 = zone & (maps.labels == Phase.O1)
    if not o1.any():
        return np.zeros_like(zone), 0.0
    every = max(1, round(STEP_NM / max(maps.step_nm)))
    some = (slice(None, None, every),) * 2
    coarse = _Grid(
        zone=zone[some],
        vacuum=~maps.crystal[some],
        rocksalt=(zone & (maps.labels == Phase.ROCKSALT))[some],
        step_nm=(every * maps.step_nm[0], every * maps.step_nm[1]),
    )
    found, length_nm = _running_out(coarse, o1[some])
    whole = found.repeat(every, axis=0).repeat(every, axis=1)[: zone.shape[0], : zone.shape[1]]
    # No rim of a grid step may stay: it would be closed to what was cut.
    return binary_dilation(whole, iterations=every, structure=np.ones((3, 3))) & o1, length_nm


@dataclass(frozen=True)
class _Grid:
    """(H, W) bool maps of the zone, of vacuum and of the zone's rocksalt."""

    zone: np.ndarray
    vacuum: np.ndarray
    rocksalt: np.ndarray
    step_nm: tuple[float, float]


def _running_out(grid: _Grid, o1: np.ndarray) -> tuple[np.ndarray, float]:
    """`running_out` on a grid of its own."""
    found, length_nm = np.zeros_like(o1), 0.0
    for half_nm in HALF_WIDTHS_NM:
        kept = o1 & ~found
        core = _core(grid.zone & ~found | grid.vacuum, kept, half_nm, grid)
        # Lamellae side by side, with no more than their width between them, are a faulted body.
        body = closed(kept, half_nm, grid.step_nm) & ~grid.vacuum
        crowded = core | opened(body, half_nm, grid.step_nm, ends=body)
        long, reach_nm = _long(kept & ~crowded, _rooted(crowded, half_nm, grid), half_nm, grid.step_nm)
        found |= long
        length_nm = max(length_nm, reach_nm)
    return found, length_nm


def _core(solid: np.ndarray, o1: np.ndarray, half_nm: float, grid: _Grid) -> np.ndarray:
    """What of the zone with its vacuum is wide, or lies at a vacuum that is not.

    Lamellae that meet the border askew are not taken to go on: they would grow wide beyond it.
    """
    core = opened(solid, half_nm, grid.step_nm, ends=o1)
    # A crack may be narrower than a lamella: what lies at it does not hang on the other side's crystal.
    narrow = grid.vacuum & ~core
    if narrow.any():
        core |= solid & (distance_transform_edt(~narrow, sampling=grid.step_nm) <= 2.0 * half_nm)
    return core


def _rooted(core: np.ndarray, half_nm: float, grid: _Grid) -> np.ndarray:
    """What a lamella can run out of: vacuum, rocksalt, and the parts of a core that lie at either."""
    root = grid.vacuum | grid.rocksalt
    parts = label(core, connectivity=1)
    # The disk that tells a core from what is narrow does not reach into the corners between them.
    close = distance_transform_edt(~root, sampling=grid.step_nm) <= 2.0 * half_nm
    return root | np.isin(parts, np.unique(parts[core & close]))


def _long(
    narrow: np.ndarray, core: np.ndarray, half_nm: float, step_nm: tuple[float, float]
) -> tuple[np.ndarray, float]:
    """Narrow pieces that reach far from a core, (H, W) bool, and how far the longest does, nm."""
    if not core.any() or not narrow.any():
        return np.zeros_like(narrow), 0.0
    parts = label(narrow, connectivity=1)
    every = np.arange(1, parts.max() + 1)
    reach = np.append(0.0, maximum(distance_transform_edt(~core, sampling=step_nm), parts, every))
    border = np.ones_like(narrow)
    border[1:-1, 1:-1] = False
    cut = np.isin(np.arange(len(reach)), parts[border & narrow])
    long = reach > np.where(cut, LONGEST_WIDTHS_IN_VIEW, LONGEST_WIDTHS) * 2.0 * half_nm
    return long[parts] & narrow, float(reach[long].max(initial=0.0))
