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
# At the row where the beam went off so many times more changes than at nearly all others, close ones left out: 1.4 to
# 4.6 in micrographs of all kinds, at most 1.11 in whole ones, whichever way they are turned.
SHARP, NEARLY_ALL, CLOSE_ROWS = 1.25, 0.99, 3
# Beyond it next to nothing changes, and before it, over so many rows, at least this many times as much.
DARK, BESIDE_ROWS, TIMES = 0.35, 32, 2.0
# Fewer rows are lost ones.
LEAST_ROWS = 8


def find_blanked_rows(image: np.ndarray) -> np.ndarray:
    """(H, W) bool, scan rows at the top or the bottom in which the beam was off.

    Parameters
    ----------
    image : numpy.ndarray
        (H, W) float32.
    """
    blanked = np.zeros(image.shape, dtype=bool)
    some = np.nan_to_num(image[:, :: max(1, image.shape[1] // ASKED_PX)], posinf=0.0, neginf=0.0).astype(np.float64)
    if len(some) < 2 * (LEAST_ROWS + CLOSE_ROWS) + 4:
        return blanked
    pairs = some[1:] + some[:-1]
    change = np.quantile(np.abs(pairs[2:] - pairs[:-2]), CHANGED, axis=1)
    most = int(change.argmax())
    before, after = change[: max(0, most - CLOSE_ROWS)], change[most + CLOSE_ROWS + 1 :]
    if not change[most] > SHARP * np.quantile(np.concatenate([before, after]), NEARLY_ALL):
        return blanked
    # Change number k is that from rows k and k + 1 to rows k + 2 and k + 3.
    for dark, beside, rows in (
        (after, before[-BESIDE_ROWS:], slice(most + 2, None)),
        (before, after[:BESIDE_ROWS], slice(0, most + 2)),
    ):
        if len(dark) < LEAST_ROWS or not len(beside):
            continue
        noise = np.quantile(dark, CHANGED)
        blanked[rows] = noise <= DARK * change[most] and np.quantile(beside, CHANGED) >= TIMES * noise
    return blanked
