"""Scan rows that were recorded with the beam off: a scan that was stopped, or begun, in the middle of a frame.

They hold noise, as vacuum does. But no edge of a crystal is as sharp as the row at which the beam goes off: it cuts
columns in two, while the probe blurs everything that it sees. Where it goes off between two rows of columns that run
along the scan, nothing tells the two apart.
"""

import numpy as np

# Columns of pixels that are asked.
ASKED_PX = 512
# How much of a row changes to the next ones: this quantile of the differences between means of two rows.
CHANGED = 0.95
# At the row where the beam went off so many times more changes than at nearly all others, close ones left out: 1.1 to
# 4.6 in micrographs of all kinds, mostly above 1.4, and at most 1.11 in whole ones, whichever way they are turned.
SHARP, NEARLY_ALL, CLOSE_ROWS = 1.25, 0.99, 3
# Beyond it next to nothing changes, and before it, over so many rows, at least this many times as much; and it is as
# dark there as the darkest quarter of those rows.
DARK, BESIDE_ROWS, TIMES, DARKEST = 0.35, 32, 2.0, 0.25
# Fewer rows are lost ones; more than this share are the image, beside something that was drawn on it.
LEAST_ROWS, MOST_OFF = 8, 0.5
# Rows of which more is hidden say nothing; of four together there is always something to see.
MOST_HIDDEN = 0.2


def find_blanked_rows(image: np.ndarray, hidden: np.ndarray) -> np.ndarray:
    """(H, W) bool, scan rows at the top or the bottom in which the beam was off.

    Parameters
    ----------
    image : numpy.ndarray
        (H, W) float32.
    hidden : numpy.ndarray
        (H, W) bool, pixels that are not to be asked: NaN, borders, bars, lost rows.
    """
    blanked = np.zeros(image.shape, dtype=bool)
    step = (slice(None), slice(None, None, max(1, image.shape[1] // ASKED_PX)))
    asked = np.flatnonzero(hidden[step].mean(axis=1) <= MOST_HIDDEN)
    if len(asked) < 2 * (LEAST_ROWS + CLOSE_ROWS) + 4:
        return blanked
    some = np.where(hidden[step], np.nan, image[step])[asked].astype(np.float64)
    pairs = some[1:] + some[:-1]
    change = np.nan_to_num(np.nanquantile(np.abs(pairs[2:] - pairs[:-2]), CHANGED, axis=1))
    most = int(change.argmax())
    before, after = change[: max(0, most - CLOSE_ROWS)], change[most + CLOSE_ROWS + 1 :]
    if not change[most] > SHARP * np.quantile(np.concatenate([before, after]), NEARLY_ALL):
        return blanked
    # Change number k is that from rows k and k + 1 to rows k + 2 and k + 3.
    upper, lower = some[: most + 2], some[most + 2 :]
    if len(lower) <= MOST_OFF * len(some):
        if _is_off(lower, after, upper[-BESIDE_ROWS:], before[-BESIDE_ROWS:], change[most]):
            blanked[asked[most + 2] :] = True
    elif _is_off(upper, before, lower[:BESIDE_ROWS], after[:BESIDE_ROWS], change[most]):
        blanked[: asked[most + 1] + 1] = True
    return blanked


def _is_off(rows: np.ndarray, change: np.ndarray, beside: np.ndarray, change_beside: np.ndarray, most: float) -> bool:
    """Whether some rows, and how they change, are those without a beam beside some with one."""
    if len(change) < LEAST_ROWS or not len(change_beside):
        return False
    noise = float(np.quantile(change, CHANGED))
    dark = np.nanmedian(rows) <= np.nanquantile(beside, DARKEST)
    return bool(dark and noise <= DARK * most and np.quantile(change_beside, CHANGED) >= TIMES * noise)
