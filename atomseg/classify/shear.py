"""Shear of the scan, read off the lattice: what it adds to the stacking shifts, and how that varies over the image."""

from dataclasses import dataclass, replace

import numpy as np

# Stacking shifts of a layered oxide are 0 or +-1/3, so three times the shift is a whole number: the mean phasor of that
# is 1 without noise, 0.4 at 12 pm of jitter a column, 0.2 at 17 pm, and 0 for random shifts.
SHIFT_ORDER = 0.2
# A slope must make them agree this well: the best of 81 slopes reaches 0.3 by chance in 100 pairs.
STEEP_SHIFT_ORDER = 0.45
# The mean phasor of the shift itself, when all shifts are one: 0.75 at 21 pm of error a column, 0 for random shifts.
# Worse scans can not tell O1 from O3 gap by gap, and are not judged.
COMMON_SHIFT_ORDER = 0.75
# Shear adds an offset to every shift; 0.11 on average is a shear of 3.3 degrees. Half-way stackings (1/2) have 1/6.
LARGEST_SHIFT_OFFSET = 0.11
# Drift that speeds up shears the ends of a scan more than its middle: the offset is a polynomial of the place, of first
# degree from this many pairs of columns on, of second degree from four times as many...
LEAST_PAIRS_FOR_SLOPE = 100
# ...and is nowhere larger than this: beyond, a stack that follows it could be another stacking.
LARGEST_LOCAL_OFFSET = 0.25
# Slopes to start from, periods from the middle of a domain to its rim.
SLOPES = np.linspace(-0.2, 0.2, 9)
# Pairs that are enough to choose among them.
ENOUGH_PAIRS = 3000


@dataclass(frozen=True)
class ShiftOffset:
    """What the shear of the scan adds to stacking shifts, anywhere in the image.

    Parameters
    ----------
    centre_nm, half_nm : numpy.ndarray
        (2,) middle and half size of the domain (y, x), nm: places are scaled to -1..1.
    coefficients : numpy.ndarray
        (1,), (3,) or (6,) of 1, y, x, y², yx, x², in periods.
    """

    centre_nm: np.ndarray
    half_nm: np.ndarray
    coefficients: np.ndarray

    def at(self, yx_nm: np.ndarray) -> np.ndarray:
        """(N,) offset at points (N, 2), periods."""
        terms = self.terms(yx_nm, len(self.coefficients))
        return np.clip(terms @ self.coefficients, -LARGEST_LOCAL_OFFSET, LARGEST_LOCAL_OFFSET)

    def terms(self, yx_nm: np.ndarray, n_terms: int) -> np.ndarray:
        """(N, n_terms) polynomial terms at points."""
        y, x = np.clip((yx_nm - self.centre_nm) / self.half_nm, -1.0, 1.0).T
        return np.stack([np.ones_like(y), y, x, y * y, y * x, x * x][:n_terms], axis=1)


def stacking_offset(shift: np.ndarray, yx_nm: np.ndarray) -> ShiftOffset | None:
    """Offset that shear adds to the stacking shifts of a layered oxide; None when they are not those of one.

    Through the jitter of an ordinary scan the three possible shifts blur into each other, but those of one crystal,
    which mostly has one stacking, still agree: then their common mean tells the offset.

    Parameters
    ----------
    shift : numpy.ndarray
        (N,) lateral distances of columns one layer apart, periods.
    yx_nm : numpy.ndarray
        (N, 2) where, nm.
    """
    if len(shift) == 0:
        return None
    low, high = yx_nm.min(axis=0), yx_nm.max(axis=0)
    flat = ShiftOffset(0.5 * (low + high), np.maximum(0.5 * (high - low), 1e-3), np.zeros(1))
    for folds, least in ((3, SHIFT_ORDER), (1, COMMON_SHIFT_ORDER)):
        slope, order, mean = _best_slope(flat, shift, yx_nm, folds)
        if order < least:
            continue
        if _beyond(mean) and slope.any():
            # Noise and two stackings side by side can look like a steep slope that leads out of what shear does.
            slope, order, mean = _level_only(slope, shift, folds)
        if order < least or _beyond(mean):
            return None
        multiple = round(3 * mean) / 3
        level = mean - multiple
        return _refined(replace(flat, coefficients=np.array([level, *slope])), shift - multiple, yx_nm, folds)
    return None


def _beyond(mean: float) -> bool:
    """Whether a mean shift is further from a layered oxide's than shear explains."""
    return abs(mean - round(3 * mean) / 3) > LARGEST_SHIFT_OFFSET


def _level_only(slope: np.ndarray, shift: np.ndarray, folds: int) -> tuple[np.ndarray, float, float]:
    """What `_best_slope` gives without a slope."""
    turn = 2 * np.pi * folds
    phasor = np.exp(1j * turn * shift).mean()
    return np.zeros_like(slope), float(abs(phasor)), float(np.angle(phasor)) / turn


def _best_slope(flat: ShiftOffset, shift: np.ndarray, yx_nm: np.ndarray, folds: int) -> tuple[np.ndarray, float, float]:
    """Slope (y, x) under which the shifts agree best modulo 1 / folds, how well they do, and their mean.

    Agreement is 0 for random shifts and 1 without noise. Without the slope, shifts that drift along the scan blur into
    each other, and their mean is that of the blur.
    """
    turn = 2 * np.pi * folds
    if len(shift) < LEAST_PAIRS_FOR_SLOPE:
        return _level_only(np.zeros(0), shift, folds)
    grid = np.stack(np.meshgrid(SLOPES, SLOPES, indexing="ij"), axis=-1).reshape(-1, 2)
    some = slice(None, None, max(1, len(shift) // ENOUGH_PAIRS))
    phasors = np.exp(1j * turn * (shift[some, None] - flat.terms(yx_nm[some], 3)[:, 1:] @ grid.T)).mean(axis=0)
    # Of slopes that fit as well the smallest.
    best = int(np.argmax(np.abs(phasors) - 0.1 * np.linalg.norm(grid, axis=1)))
    if abs(phasors[best]) < STEEP_SHIFT_ORDER:
        best = int(np.argmin(np.linalg.norm(grid, axis=1)))
    return grid[best], float(abs(phasors[best])), float(np.angle(phasors[best])) / turn


def _refined(start: ShiftOffset, shift: np.ndarray, yx_nm: np.ndarray, folds: int) -> ShiftOffset:
    """The offset as a polynomial of the place, of first and then of second degree.

    Scoring steps for von Mises errors, from the best slope of a coarse grid: shifts are known modulo 1 / folds only,
    and a fit that starts flat can end a fold away.
    """
    coefficients = start.coefficients
    if len(coefficients) < 3:
        return start
    turn = 2 * np.pi * folds
    terms = start.terms(yx_nm, 6)
    for n_terms in (3, 6) if len(shift) >= 4 * LEAST_PAIRS_FOR_SLOPE else (3,):
        coefficients = np.pad(coefficients, (0, n_terms - len(coefficients)))
        inverse = np.linalg.pinv(terms[:, :n_terms])
        for _ in range(12):
            off = turn * (shift - terms[:, :n_terms] @ coefficients)
            coefficients = coefficients + inverse @ np.sin(off) / (turn * max(float(np.cos(off).mean()), 0.2))
    return replace(start, coefficients=coefficients)
