"""From measured gaps to phase probabilities: likelihood of shift and occupancy, then coupling on the graph of gaps."""

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix, csr_matrix
from scipy.spatial import cKDTree
from scipy.special import ndtr

from atomseg.classify.config import ClassifyConfig
from atomseg.classify.frames import Frames
from atomseg.classify.rows import (
    MEMORIES,
    N_STATES,
    Chains,
    ShiftNoise,
    core_share,
    decide_rows,
    log_evidence,
    own_errors,
    shift_noise,
    stack_field,
)
from atomseg.types import Phase

# States of a gap, in the order of the probability columns.
STATES = (Phase.LAYERED, Phase.ROCKSALT, Phase.O1, Phase.UNRESOLVED)
PROBABILITY_FIELDS = ("p_layered", "p_rocksalt", "p_o1", "p_unresolved")
# Share of gaps whose shift fits nothing (overlapping stackings, dislocation cores, wrong columns).
OUTLIER_PRIOR = 0.01
# Spread of interlayer occupancy between neighbouring columns of one place: binomial scatter of some 40 atoms plus its
# gradient; sets how much a noisy site listens to its neighbours.
OCCUPANCY_SPREAD = 0.2
FEWEST_NEIGHBOURS = 3
SWEEPS = 2
# Least share of the rarer stacking sense: twins are possible in every crystal.
TWIN_SHARE = 0.05


def neighbour_graphs(gaps: pd.DataFrame, frames: Frames) -> tuple[csr_matrix, csr_matrix]:
    """Symmetric adjacency of gaps: beside each other in the same row, and above each other."""
    n = len(gaps)
    lower = gaps["lower"].to_numpy()
    site = gaps[["y_nm", "x_nm"]].to_numpy()
    row, domain = frames.row[lower], gaps["domain"].to_numpy()
    period = np.linalg.norm(row, axis=1)
    tree = cKDTree(site)
    pairs = tree.query_pairs(float(np.nanmax(period) * 2.1), output_type="ndarray")
    pairs = pairs[domain[pairs[:, 0]] == domain[pairs[:, 1]]]
    delta = site[pairs[:, 1]] - site[pairs[:, 0]]
    axis = row[pairs[:, 0]] / period[pairs[:, 0], None] ** 2
    along = np.abs((delta * axis).sum(axis=1))
    across = np.abs(delta[:, 0] * axis[:, 1] - delta[:, 1] * axis[:, 0])
    beside = (across < 0.35) & (np.abs(along - 1) < 0.45)
    above = (across > 0.7) & (across < 2.1) & (along < 0.75)

    def symmetric(mask: np.ndarray) -> csr_matrix:
        i, j = pairs[mask].T
        half = coo_matrix((np.ones(len(i)), (i, j)), shape=(n, n))
        return (half + half.T).tocsr()

    return symmetric(beside), symmetric(above)


def smooth_occupancy(
    gaps: pd.DataFrame, beside: csr_matrix, above: csr_matrix, config: ClassifyConfig
) -> tuple[np.ndarray, np.ndarray]:
    """Occupancy of each site and its error, a noisy site borrowing from its neighbours in the row.

    The posterior mean of one Gaussian random field sweep: own measurement with its error, neighbours with theirs plus
    the natural spread; then a site more extreme than all around it takes the most extreme value of its neighbours,
    which removes lone outliers and moves no front.
    """
    value = gaps["ratio"].clip(-0.3, 1.3).to_numpy(dtype=float)
    variance = gaps["ratio_err"].to_numpy(dtype=float) ** 2 + 1e-4
    own = 1.0 / variance
    lent = 1.0 / (variance + OCCUPANCY_SPREAD**2)
    weight = own + beside @ lent
    mean = _within_neighbours((own * value + beside @ (lent * value)) / weight, (beside + above).tocsr())
    return np.clip(mean, 0.0, 1.0), np.sqrt(1.0 / weight + config.occupancy_systematic**2)


def _within_neighbours(value: np.ndarray, graph: csr_matrix) -> np.ndarray:
    """Values clipped to the range of their neighbours' where there are at least `FEWEST_NEIGHBOURS`."""
    out = value.copy()
    count = np.diff(graph.indptr)
    enough = np.flatnonzero(count >= FEWEST_NEIGHBOURS)
    if len(enough) == 0:
        return out
    around = value[graph.indices]
    filled = np.flatnonzero(count > 0)
    low = np.full(len(value), -np.inf)
    high = np.full(len(value), np.inf)
    low[filled] = np.minimum.reduceat(around, graph.indptr[filled])
    high[filled] = np.maximum.reduceat(around, graph.indptr[filled])
    out[enough] = np.clip(value[enough], low[enough], high[enough])
    return out


def phase_probabilities(
    gaps: pd.DataFrame, frames: Frames, chains: Chains, config: ClassifyConfig
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Posterior of every gap.

    Parameters
    ----------
    gaps : pandas.DataFrame
        From `measure_gaps`.
    frames : Frames
        Local frames of the columns.
    chains : Chains
        Order of the gaps along their rows.
    config : ClassifyConfig
        Settings.

    Returns
    -------
    probability : numpy.ndarray
        (G, 4) in the order of `STATES`.
    occupancy, occupancy_err : numpy.ndarray
        (G,) smoothed interlayer occupancy and its standard error.
    """
    if len(gaps) == 0:
        return np.zeros((0, 4)), np.zeros(0), np.zeros(0)
    beside, above = neighbour_graphs(gaps, frames)
    occupancy, occupancy_err = smooth_occupancy(gaps, beside, above, config)
    stacking = stacking_probabilities(gaps, frames, above, chains, config)
    full = ndtr((occupancy - config.occupancy_threshold) / occupancy_err)
    third = stacking[:, 0] + stacking[:, 1]
    q = np.stack([third * (1 - full), third * full, stacking[:, 2], stacking[:, 3]], axis=1)
    return q, occupancy, occupancy_err


def stacking_probabilities(
    gaps: pd.DataFrame, frames: Frames, above: csr_matrix, chains: Chains, config: ClassifyConfig
) -> np.ndarray:
    """(G, 4) probability of shift +1/3, -1/3, 0 and of none of these, decided row by row."""
    shift, claimed = gaps["shift"].to_numpy(dtype=float), gaps["shift_err"].to_numpy(dtype=float)
    domain = gaps["domain"].to_numpy()
    period = np.linalg.norm(frames.row[gaps["lower"].to_numpy()], axis=1)
    out = np.zeros((len(gaps), 4))
    for k in range(len(frames.shift_offset)):
        mine = domain == k
        if not mine.any():
            continue
        noise = shift_noise(shift, chains, mine) or ShiftNoise(float(np.median(claimed[mine])), 0.0, MEMORIES[0])
        error = own_errors(claimed[mine], noise, config.shift_systematic_nm / float(np.median(period[mine])))
        own = chains.of(mine)
        states = _with_stack(
            log_evidence(shift[mine], error),
            above[mine][:, mine],
            own,
            noise=noise,
            o1_prior=config.o1_prior,
            strength=config.coupling_stack,
        )
        out[mine] = _without_cores(states, shift[mine], error, own)
    return out


def _without_cores(states: np.ndarray, shift: np.ndarray, error: np.ndarray, chains: Chains) -> np.ndarray:
    """(G, 4): gaps in the core of a partial dislocation belong to the stacking on whose side of its middle they lie."""
    padded = np.append(states[:, 0] - states[:, 1], 0.0)
    along = padded[chains.index].sum(axis=1)
    sense = np.where(along >= 0, 1.0, -1.0)
    of_gap = np.ones(len(states) + 1)
    of_gap[chains.index] = sense[:, None]
    share = core_share(shift, error, of_gap[:-1])
    core = states[:, 3]
    out = np.stack([states[:, 0], states[:, 1], states[:, 2] + core * share, states[:, 4]], axis=1)
    out[np.arange(len(out)), np.where(of_gap[:-1] > 0, 0, 1)] += core * (1.0 - share)
    return out


def _with_stack(
    evidence: np.ndarray, above: csr_matrix, chains: Chains, *, noise: ShiftNoise, o1_prior: float, strength: float
) -> np.ndarray:
    """Rows decided one by one, then again with what the rows above and below them are (structured mean field)."""
    sense = np.array([0.5, 0.5])
    q = np.zeros((len(evidence), N_STATES))
    for sweep in range(SWEEPS):
        prior = np.append(sense * (1.0 - o1_prior - 2 * OUTLIER_PRIOR), [o1_prior, OUTLIER_PRIOR, OUTLIER_PRIOR])
        field = stack_field(above, q, prior, strength) if sweep else np.zeros_like(q)
        q = decide_rows(evidence, field, chains, prior=prior, noise=noise)
        # The sense of a crystal is the same nearly everywhere; twins keep a small share.
        sense = np.clip(q[:, :2].sum(axis=0) / max(float(q[:, :2].sum()), 1e-9), TWIN_SHARE, 1.0 - TWIN_SHARE)
        sense = sense / sense.sum()
    return q
