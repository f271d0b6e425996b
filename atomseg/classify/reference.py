"""Which crystals show their layers: only there do bright interlayers mean rocksalt."""

import numpy as np
import pandas as pd

from atomseg.classify.frames import Frames
from atomseg.classify.posterior import STATES
from atomseg.types import Phase

# A domain shows layers where this many gaps, and this share of its gaps, are surely layered or O1. One in fifty is
# above what chance makes of an all-bright crystal, and a front across a corner of the view has more.
FEWEST_GAPS, SMALLEST_SHARE, SURE = 12, 0.02, 0.9
DIM_PHASES = (Phase.LAYERED, Phase.O1)


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
