"""Areas that hold one number: borders left by aligning, rotating and padding, bars and boxes drawn on an image.

Nothing was seen there, unlike in vacuum that an export clipped to one number. What tells them apart is the outline: it
is straight, and the image is cut off at it.
"""

import numpy as np
from scipy.ndimage import (
    binary_closing,
    binary_dilation,
    binary_fill_holes,
    binary_opening,
    find_objects,
    label,
    maximum_filter,
    minimum_filter,
    minimum_filter1d,
)

from atomseg.imaging import large_parts
from atomseg.io.grey import contrast_between

# Blank is what holds one and the same number over boxes of this many pixels; runs of more tell where to look at all.
BOX_PX, RUN_PX = 5, 15
# Areas at the image border count from this share of the image on (a strip of less hides no column), those within it if
# they fill this share of the rectangle around them, which is that large, and longer than a share of the image.
LEAST_SHARE, RECTANGLE, LEAST_PX, LEAST_LENGTH = 1e-3, 0.97, 300, 0.05
# No more different numbers are looked at than the largest areas have.
MOST_VALUES = 4
# What is beside a blank area jumps: nineteen in twenty pixels differ by this share of the contrast at least, or, where
# the blank has the image's darkest value or its mean, a twentieth differs by the second share. Vacuum that was clipped
# to one number goes over into the crystal without a jump. What has lettering need not jump: it may lie beside vacuum.
ALL_JUMP, SOME_JUMP, SOME = 0.05, 0.25, 0.05
# The outline is straight, up to this area in opening and closing it with a box of 7 pixels, for each pixel of outline,
# where all jump (lines shifted one by one leave a jagged one: 0.1 to 0.25) or some: clipped vacuum has 0.05 and more.
SMOOTH_BOX, JAGGED, STRAIGHT = 7, 0.3, 0.02
# Letters and bars in a box jump by this share of the contrast, which noise in clipped vacuum does not, and are this
# share of it at most, which the gaps between overexposed columns are not.
LETTER_JUMP, MOST_LETTERS = 0.5, 0.4
# A rectangle this many times as long as wide is a bar, and letters of three pixels' stroke within this share of its
# length are its own, with a smoothed outline this wide.
BAR_ASPECT, LETTER_REACH, LETTER_RIM_PX = 4.0, 0.5, 2
# Where a format is lossy, what was drawn black or white is so but for this share of the range, and for specks of this
# many pixels; and what is beside it within this many pixels was drawn over a little.
DARK_LOSS, BRIGHT_LOSS, SPECK_PX, LOSS_RIM_PX = 0.02, 0.08, 16, 3


def find_blank(image: np.ndarray, *, lossy: bool = False) -> np.ndarray:
    """(H, W) bool, pixels of blank borders, and of bars, boxes and their lettering.

    Parameters
    ----------
    image : numpy.ndarray
        (H, W) float32; NaN is not blank, it is marked anyway.
    lossy : bool
        Whether what is nearly black or white counts as that: JPEG draws waves beside sharp outlines.
    """
    found = _find_blank(_settled(image) if lossy else image, lossy=lossy)
    return binary_dilation(found, np.ones((3, 3)), iterations=LOSS_RIM_PX) if lossy and found.any() else found


def _find_blank(image: np.ndarray, *, lossy: bool) -> np.ndarray:
    """`find_blank` of an image whose blank areas hold one number; their outlines are straight but for the `lossy`."""
    blank = np.zeros(image.shape, dtype=bool)
    some = image[:: BOX_PX - 1]
    if min(image.shape) <= RUN_PX or not minimum_filter1d(some[:, 1:] == some[:, :-1], RUN_PX).any():
        return blank
    flat = maximum_filter(image, BOX_PX, mode="nearest") == minimum_filter(image, BOX_PX, mode="nearest")
    flat = maximum_filter(flat, BOX_PX, mode="nearest")
    low, high = contrast_between(image[~flat])
    values, count = np.unique(image[flat], return_counts=True)
    for value in values[np.argsort(-count)][: MOST_VALUES if high > low else 0]:
        parts, _ = label(flat & (image == value))
        size = np.bincount(parts.ravel())
        for number, where in enumerate(find_objects(parts), start=1):
            at_border = _touches(where, image.shape)
            if size[number] < (max(LEAST_PX, LEAST_SHARE * image.size) if at_border else LEAST_PX):
                continue
            rectangle = _is_rectangle(parts[where] == number, image.shape)
            near = _around(where, at_border)
            part = parts[near] == number
            filled = _with_letters(part, image[near], float(value), high - low, rectangle)
            if filled is None or not (at_border or rectangle):
                continue
            lettered = bool(np.count_nonzero(filled) > np.count_nonzero(part))
            if lossy and rectangle:
                filled[find_objects(filled.astype(np.uint8))[0]] = True
            blank[near] |= _blank_of(image[near], filled, float(value), high - low, lettered=lettered)
    return blank


def _settled(image: np.ndarray) -> np.ndarray:
    """The image with its nearly black and nearly white areas, and the specks in them, all black and white."""
    low, high = np.nanmin(image), np.nanmax(image)
    span, settled = high - low, image.copy()
    for value, end in ((low, image <= low + DARK_LOSS * span), (high, image >= high - BRIGHT_LOSS * span)):
        settled[~large_parts(~end, SPECK_PX, diagonal=False)] = value
    return settled


def _touches(where: tuple[slice, ...], shape: tuple[int, ...]) -> bool:
    return any(s.start == 0 or s.stop == n for s, n in zip(where, shape, strict=True))


def _around(where: tuple[slice, ...], at_border: bool) -> tuple[slice, ...]:
    """The neighbourhood of an area, which holds its lettering."""
    reach = SMOOTH_BOX if at_border else int(LETTER_REACH * max(s.stop - s.start for s in where)) + SMOOTH_BOX
    return tuple(slice(max(0, s.start - reach), s.stop + reach) for s in where)


def _blank_of(image: np.ndarray, filled: np.ndarray, value: float, contrast: float, *, lettered: bool) -> np.ndarray:
    """A part of one value, filled with its lettering, and the lettering about it, if it is blank; nothing if not."""
    nothing = np.zeros_like(filled)
    (where,) = find_objects(filled.astype(np.uint8))
    at_border = _touches(where, image.shape)
    # Teeth of a jagged outline, narrower than a box.
    teeth = (image == value) & binary_dilation(filled, np.ones((2 * BOX_PX - 1,) * 2))
    beside = binary_dilation(filled | teeth, np.ones((3, 3))) & ~filled & ~teeth & np.isfinite(image)
    if not beside.any() or beside.sum() > 2 * sum(image.shape):
        return nothing
    jump = np.abs(image[beside] - value) / contrast
    jagged = _changed(filled, SMOOTH_BOX if at_border else BOX_PX) / beside.sum()
    sharp = bool(np.quantile(jump, 0.05) > ALL_JUMP)
    cut_off = lettered or sharp or np.mean(jump > SOME_JUMP) >= SOME
    if not cut_off or jagged > (JAGGED if sharp and at_border else STRAIGHT):
        return nothing
    whole = filled | teeth if sharp else filled
    sides = [s.stop - s.start for s in where]
    is_bar = not at_border and max(sides) >= BAR_ASPECT * min(sides)
    return whole | _letters_about(image, value) if is_bar else whole


def _changed(part: np.ndarray, narrowest_px: int) -> int:
    """Pixels that change when an area, which goes on beyond the image, is closed, and opened with its least width."""
    around = np.pad(part, SMOOTH_BOX, mode="edge")
    closed = binary_closing(around, np.ones((SMOOTH_BOX,) * 2))
    opened = binary_opening(around, np.ones((narrowest_px,) * 2))
    inner = (slice(SMOOTH_BOX, -SMOOTH_BOX),) * 2
    return int(np.count_nonzero((closed ^ opened)[inner]))


def _is_rectangle(part: np.ndarray, shape: tuple[int, ...]) -> bool:
    """Whether an area, all of its bounding box and what it encloses, is a rectangle of some length in an image."""
    longest = max(side / n for side, n in zip(part.shape, shape, strict=True))
    return longest >= LEAST_LENGTH and bool(binary_fill_holes(part).mean() >= RECTANGLE)


def _with_letters(
    part: np.ndarray, image: np.ndarray, value: float, contrast: float, rectangle: bool
) -> np.ndarray | None:
    """An area with the lettering that it encloses, None if it encloses anything else; a frame may enclose the image."""
    enclosed, n = label(binary_fill_holes(part) & ~part)
    size = np.bincount(enclosed.ravel())
    jumps = np.bincount(enclosed.ravel(), (np.abs(image - value) > LETTER_JUMP * contrast).ravel())
    letters = (np.arange(n + 1) > 0) & (size <= part.sum())
    if not letters.any():
        return part
    if not rectangle or size[letters].sum() > MOST_LETTERS * part.sum() or (jumps[letters] == 0).any():
        return None
    return np.asarray(part | letters[enclosed])


def _letters_about(image: np.ndarray, value: float) -> np.ndarray:
    """Lettering of a bar's own value in its neighbourhood, with the pixels that smooth its outlines."""
    same = image == value
    parts, _ = label(same, np.ones((3, 3)))
    parts[np.isin(parts, np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]]))] = 0  # go on beyond it
    kept = np.unique(parts[binary_opening(same, np.ones((3, 3)))])
    return np.asarray(binary_dilation(np.isin(parts, kept[kept > 0]), np.ones((3, 3)), iterations=LETTER_RIM_PX))
