"""Which crystals show their layers: only there do bright interlayers mean rocksalt."""

from collections import deque

import numpy as np
import pandas as pd

from atomseg.classify.frames import Frames
from atomseg.classify.posterior import STATES
from atomseg.types import Phase

# A domain shows layers where this many gaps, and this share of its gaps, are surely layered or O1. One in fifty is
# above what chance makes of an all-bright crystal, and a front across a corner of the view has more.
FEWEST_GAPS, SMALLEST_SHARE, SURE = 12, 0.02, 0.9
DIM_PHASES = (Phase.LAYERED, Phase.O1)
# Rows of a stack whose brightness alternates, columns in a row and shared by two, that make it worth a test; how much
# of a row's brightness the alternation must be, and how many of its errors.
FEWEST_ROWS, FEWEST_IN_ROW, FEWEST_SHARED, FEWEST_ALONG = 12, 4, 3, 6
SMALLEST_ALTERNATION, SURE_ALTERNATION = 0.01, 8.0


def shows_layers(gaps: pd.DataFrame, probability: np.ndarray, frames: Frames) -> np.ndarray:
    """(D,) bool, whether each domain has dim interlayers somewhere.

    Parameters
    ----------
    gaps : pandas.DataFrame
        Gaps between rows with ``domain``.
    probability : numpy.ndarray
        (G, S) probability of each of `STATES`.
    frames : Frames
        Frame of each column.
    """
    n = len(frames.shift_offset)
    if len(gaps) == 0:
        return np.zeros(n, dtype=bool)
    domain = gaps["domain"].to_numpy(dtype=int)
    dim = probability[:, [k for k, state in enumerate(STATES) if state in DIM_PHASES]].sum(axis=1) > SURE
    total = np.bincount(domain, minlength=n)
    sure = np.bincount(domain[dim], minlength=n)
    return (sure >= FEWEST_GAPS) & (sure >= SMALLEST_SHARE * total)


def alternates_along_rows(yx_nm: np.ndarray, amplitude: np.ndarray, row_id: np.ndarray) -> bool:
    """Whether every second column of the rows is brighter: the layers of an all-bright crystal can cross its rows.

    Two directions of rows fit an all-bright crystal as well; where the frame follows the one that is not the layers',
    what is left of these alternates along the rows. The power of the alternation in every row is held against that of
    noise.

    Parameters
    ----------
    yx_nm : numpy.ndarray
        (N, 2) columns.
    amplitude : numpy.ndarray
        (N,) their heights, positive.
    row_id : numpy.ndarray
        (N,) row of each column, negative outside rows.
    """
    known = np.flatnonzero(row_id >= 0)
    if len(known) < FEWEST_ROWS * FEWEST_ALONG:
        return False
    rows = row_id[known]
    centre = yx_nm[known].mean(axis=0)
    axis = np.linalg.svd(yx_nm[known][rows == np.bincount(rows).argmax()] - centre, full_matrices=False)[2][0]
    known = known[np.lexsort((yx_nm[known] @ axis, rows))]
    rows, bright = row_id[known], np.log(np.maximum(amplitude[known], 1e-12))
    inner = np.flatnonzero((rows[1:-1] == rows[:-2]) & (rows[1:-1] == rows[2:])) + 1
    bend = bright[inner] - 0.5 * (bright[inner - 1] + bright[inner + 1])
    sign = 1.0 - 2.0 * (np.arange(len(rows)) % 2)[inner]
    n = np.bincount(rows[inner])
    mean = np.bincount(rows[inner], sign * bend) / np.maximum(n, 1)
    long = n >= FEWEST_ALONG
    if long.sum() < FEWEST_ROWS:
        return False
    # A column's noise appears in three bends: white noise gives 8/3 of a bend's variance over the number of bends.
    noise = 8.0 / 3.0 * (1.4826 * np.median(np.abs(bend - np.median(bend)))) ** 2
    power = n[long] * mean[long] ** 2 / max(noise, 1e-12)
    certain = (power.mean() - 1.0) * np.sqrt(long.sum() / 2.0) > SURE_ALTERNATION
    return bool(certain and 0.5 * np.sqrt(np.average(mean[long] ** 2, weights=n[long])) > SMALLEST_ALTERNATION)


def layers_alternate(gaps: pd.DataFrame, row_id: np.ndarray) -> bool:
    """Whether every second cation row is brighter, be it by a few per cent: what is left of layers in rocksalt.

    Down [-4 -2 1] all rows of a layered crystal hold the same, as those of other cubic crystals do; the interlayers of
    a reconstruction layer are rarely quite full. Each row's mean brightness relative to the rows beside it is signed by
    its parity, counted from row to row, and the mean over the rows of a stack held against their scatter.

    Parameters
    ----------
    gaps : pandas.DataFrame
        Gaps with ``site_column``, ``row_lower``, ``row_upper`` and ``ratio``; in rocksalt every cation row is the
        middle of one.
    row_id : numpy.ndarray
        (N,) row of each column.
    """
    seen = gaps[gaps["site_column"] >= 0]
    site = row_id[seen["site_column"].to_numpy(dtype=int)]
    table = pd.DataFrame(
        {"site": site, "lower": seen["row_lower"].to_numpy(), "upper": seen["row_upper"].to_numpy()}
    ).assign(bright=np.log(np.clip(seen["ratio"].to_numpy(dtype=float), 0.2, 3.0)))
    table = table[table["site"] >= 0]
    stack, parity = _parities(table)
    rows = table.groupby("site")["bright"].agg(["mean", "size"])
    rows = rows[rows.index.isin(list(parity)) & (rows["size"] >= FEWEST_IN_ROW)]
    names = np.array([stack[r] for r in rows.index])
    for name in np.unique(names):
        mine = rows[names == name]
        if len(mine) < FEWEST_ROWS:
            continue
        weight = mine["size"].to_numpy(dtype=float)
        bright = mine["mean"].to_numpy() - np.average(mine["mean"], weights=weight)
        signed = bright * np.array([1 - 2 * parity[r] for r in mine.index])
        mean = np.average(signed, weights=weight)
        error = np.sqrt(np.average((signed - mean) ** 2, weights=weight) * (weight**2).sum()) / weight.sum()
        if abs(mean) > SMALLEST_ALTERNATION and abs(mean) > SURE_ALTERNATION * error:
            return True
    return False


def _parities(table: pd.DataFrame) -> tuple[dict[int, int], dict[int, int]]:
    """Stack of each row, and its parity in it, from which rows stand beside which."""
    beside: dict[int, set[int]] = {}
    for side in ("lower", "upper"):
        count = table.groupby(["site", side]).size()
        for a, b in count[count >= FEWEST_SHARED].index:
            beside.setdefault(int(a), set()).add(int(b))
            beside.setdefault(int(b), set()).add(int(a))
    stack: dict[int, int] = {}
    parity: dict[int, int] = {}
    for first in beside:
        if first in parity:
            continue
        parity[first], stack[first] = 0, first
        queue = deque([first])
        while queue:
            row = queue.popleft()
            for other in beside[row] - parity.keys():
                parity[other], stack[other] = 1 - parity[row], first
                queue.append(other)
    return stack, parity


def only(frames: Frames, keep: np.ndarray) -> Frames:
    """The frames of some domains, renumbered; columns of the others follow none.

    Parameters
    ----------
    frames : Frames
        Frames as found.
    keep : numpy.ndarray
        (D,) bool, domains to keep.
    """
    number = np.append(np.where(keep, np.cumsum(keep) - 1, -1), -1)
    domain = number[frames.domain]
    kept = domain >= 0
    return Frames(
        np.where(kept[:, None], frames.row, np.nan),
        np.where(kept, frames.layer_nm, np.nan),
        domain,
        tuple(offset for offset, stays in zip(frames.shift_offset, keep, strict=True) if stays),
    )
