"""From measured gaps to phase probabilities: likelihood of shift and occupancy, then coupling on the graph of gaps."""

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix, csr_matrix
from scipy.spatial import cKDTree
from scipy.special import ndtr, softmax

from atomseg.classify.config import ClassifyConfig
from atomseg.classify.frames import Frames
from atomseg.types import Phase

# States of a gap, in the order of the probability columns.
STATES = (Phase.LAYERED, Phase.ROCKSALT, Phase.O1, Phase.UNRESOLVED)
PROBABILITY_FIELDS = ("p_layered", "p_rocksalt", "p_o1", "p_unresolved")
# Share of gaps whose shift fits nothing (overlapping stackings, dislocation cores, wrong columns).
OUTLIER_PRIOR = 0.02
# Spread of interlayer occupancy between neighbouring columns of one place: binomial scatter of some 40 atoms plus its
# gradient; sets how much a noisy site listens to its neighbours.
OCCUPANCY_SPREAD = 0.2
FEWEST_NEIGHBOURS = 3
SWEEPS = 12


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
    gaps: pd.DataFrame, frames: Frames, config: ClassifyConfig
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Posterior of every gap.

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
    shift, err = gaps["shift"].to_numpy(), gaps["shift_err"].to_numpy()
    density = np.stack([_wrapped_normal(shift - centre, err) for centre in (1 / 3, -1 / 3, 0.0)])
    third = 0.5 * (density[0] + density[1])
    full = ndtr((occupancy - config.occupancy_threshold) / occupancy_err)
    prior = 1.0 - config.o1_prior - OUTLIER_PRIOR
    likelihood = np.stack(
        [
            prior * third * (1 - full),
            prior * third * full,
            config.o1_prior * density[2],
            np.full(len(gaps), OUTLIER_PRIOR),
        ],
        axis=1,
    )
    unary = np.log(likelihood + 1e-12)
    # Mean field: stacking is what neighbours share; occupancy has already been shared above.
    q = softmax(unary, axis=1)
    same_row = np.array([[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]], dtype=float)
    for _ in range(SWEEPS):
        field = config.coupling_row * (beside @ q) @ same_row + config.coupling_stack * (above @ q)
        q = softmax(unary + field, axis=1)
    return q, occupancy, occupancy_err


def _wrapped_normal(x: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """Normal density of a quantity that is defined modulo 1."""
    x = (x + 0.5) % 1.0 - 0.5
    return np.exp(-0.5 * (x / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
