"""The reconstructed zone: what of it belongs to a surface, and what lies hidden below."""

from dataclasses import dataclass

import numpy as np
from scipy.ndimage import distance_transform_edt, maximum, minimum
from skimage.measure import label

from atomseg.imaging import large_parts
from atomseg.measure.config import MeasureConfig
from atomseg.measure.lamellae import running_out
from atomseg.measure.morphology import closed, opened
from atomseg.measure.surface import Maps
from atomseg.types import Phase

RECONSTRUCTED = (Phase.ROCKSALT, Phase.O1)
# Reconstructed crystal that no surface reaches is told of from this area on: a handful of gaps, one is often noise.
HIDDEN_NM2 = 1.0
# Radius of the opening that cuts off faults one gap high (0.44 to 0.48 nm), and keeps lamellae of two.
SINGLE_FAULT_NM = 0.32
# The same for rocksalt: single columns, which are noise, go (0.25 nm wide), the rim of 0.5 nm around an island stays.
SPECK_NM = 0.2


@dataclass(frozen=True)
class Zone:
    """The reconstructed zone of the surfaces, on the grid of the maps.

    Parameters
    ----------
    attached : numpy.ndarray
        (H, W) bool, the zone that belongs to a surface, its layered islands closed and single faults that leave it cut
        off.
    reconstructed : numpy.ndarray
        (H, W) bool, the reconstructed crystal in it: the islands left out.
    hidden : numpy.ndarray
        (H, W) bool, reconstructed crystal that no surface reaches: below an intact skin, or deep in the bulk.
    gap_nm : float
        Widest gap of intact crystal across which wide patches were taken as one layer, nm; 0 where none was.
    lamellae_nm : float
        How far O1 lamellae, which are left out, run from the zone into the crystal, nm; 0 where none does.
    """

    attached: np.ndarray
    reconstructed: np.ndarray
    hidden: np.ndarray
    gap_nm: float = 0.0
    lamellae_nm: float = 0.0


def find_zone(maps: Maps, config: MeasureConfig) -> Zone:
    """Part reconstructed crystal into what belongs to a surface and what does not."""
    reconstructed = np.isin(maps.labels, RECONSTRUCTED)
    nothing = np.zeros_like(reconstructed)
    if not reconstructed.any() or maps.crystal.all():
        return Zone(nothing, nothing, nothing)
    # Opening first, with the vacuum as part of what is opened so that a thin skin stays: a single fault that leaves the
    # layer for the bulk is a fault of the bulk, and two of them side by side must not be closed to a lamella.
    solid = reconstructed | ~maps.crystal
    broad = opened(solid, SINGLE_FAULT_NM, maps.step_nm) & reconstructed
    broad |= opened(solid, SPECK_NM, maps.step_nm) & (maps.labels == Phase.ROCKSALT)
    mine, gap_nm = _of_surfaces(broad, maps, config)
    lamellae, lamellae_nm = running_out(mine, maps)
    if lamellae_nm > 0:
        broad &= ~lamellae
        mine, gap_nm = _of_surfaces(broad, maps, config)
    zone = closed(mine, max(config.closing_nm, 0.5 * gap_nm), maps.step_nm) & maps.crystal
    hidden = large_parts(broad & ~mine, HIDDEN_NM2 / (maps.step_nm[0] * maps.step_nm[1]), diagonal=True)
    return Zone(zone, reconstructed & zone & ~lamellae, hidden, gap_nm, lamellae_nm)


def _of_surfaces(broad: np.ndarray, maps: Maps, config: MeasureConfig) -> tuple[np.ndarray, float]:
    """(H, W) bool, reconstructed crystal that belongs to surfaces, and the widest gap bridged for it, nm."""
    # Patches of a disordered layer belong together when closing their gaps would make them touch.
    near = distance_transform_edt(~broad, sampling=maps.step_nm) <= max(config.closing_nm, maps.step_nm[0])
    parts = label(near & maps.crystal, connectivity=2)
    below_surface = distance_transform_edt(maps.crystal, sampling=maps.step_nm) <= config.attached_nm
    attached = np.zeros(parts.max() + 1, dtype=bool)
    attached[np.unique(parts[below_surface & broad])] = True
    attached[0] = False
    gap_nm = _attach_wide(attached, np.where(broad, parts, 0), 2.0 * config.closing_nm, maps.step_nm)
    return broad & attached[parts], gap_nm


def _attach_wide(attached: np.ndarray, parts: np.ndarray, least_nm: float, step_nm: tuple[float, float]) -> float:
    """Attach, in place, parts that are nearer to an attached one than either is wide; the widest gap bridged, nm.

    A thick disordered layer is made of patches as wide as the layered crystal between them, and where one of them does
    not touch the next in this plane it does in another. Skins and specks, not wider than `least_nm`, bridge nothing.

    Parameters
    ----------
    attached : numpy.ndarray
        (n + 1,) bool by label.
    parts : numpy.ndarray
        (H, W) int labels of reconstructed crystal, 0 for none.
    least_nm : float
        Width from which on a part bridges gaps.
    step_nm : tuple of float
        Grid steps (y, x).
    """
    if attached[1:].all() or not attached.any():
        return 0.0
    half = maximum(distance_transform_edt(parts > 0, sampling=step_nm), parts, np.arange(len(attached)))
    width = 2.0 * np.asarray(half)
    waiting = np.flatnonzero(~attached & (width > least_nm))
    waiting = waiting[waiting > 0]
    reached = np.flatnonzero(attached & (width > least_nm)).tolist()
    widest_nm = 0.0
    while reached and len(waiting):
        one = reached.pop()
        gaps = np.asarray(minimum(distance_transform_edt(parts != one, sampling=step_nm), parts, waiting))
        near = gaps <= np.minimum(width[one], width[waiting])
        attached[waiting[near]] = True
        reached += waiting[near].tolist()
        widest_nm = float(gaps[near].max(initial=widest_nm))
        waiting = waiting[~near]
    return widest_nm
