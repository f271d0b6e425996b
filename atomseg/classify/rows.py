"""Stacking decided by whole rows: exact inference along each gap between two TM rows, noise read off the image.

The shift of one gap is noisy, but a stacking fault is a piece of a row: neighbours in a row have the same shift but
where a partial dislocation ends the fault. Errors of the scan are of two kinds: what is new with every column, and what
a row has in common because its columns lie on the same scan lines. The second kind does not average out, and is what
can make a row of O3 look like O1; it is a hidden, slowly wandering offset here.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.optimize import nnls
from scipy.sparse import csr_matrix
from scipy.special import ndtr

# States of a gap: shift +1/3, -1/3, 0, inside the core of a partial dislocation, and none of these.
SHIFTS = (1 / 3, -1 / 3, 0.0)
N_STATES = 5
# Over the core of a partial dislocation, where a fault ends, the shift goes from one stacking to the other.
CORE_COLUMNS = 5
# Along a row, per column: faults end at partial dislocations, the shortest looked for are some eight columns long; a
# change of sense within one row needs a full dislocation.
FAULT_ENDS = 0.02
SENSE_TURNS = 0.002
ORDER_LOST = 0.001
# Columns that are not where they were found (vacancies, debris, a neighbour's tail): fits no stacking, says nothing.
BAD_COLUMN = 0.04
# Offsets of a row, periods: beyond a sixth it is another stacking's.
OFFSETS = np.linspace(-0.3, 0.3, 13)
LAGS = (1, 2, 3, 5, 8, 13, 21)
# Correlations from one column to the next that are tried for the wandering offset.
MEMORIES = (0.5, 0.7, 0.85, 0.93, 0.97, 0.99)
FEWEST_PAIRS = 40


@dataclass(frozen=True)
class Chains:
    """Gaps in the order of their rows.

    Parameters
    ----------
    index : numpy.ndarray
        (C, L) int gap at each place of each chain, -1 beyond its end.
    following : numpy.ndarray
        (G,) int next gap of the same row, -1 at its end.
    """

    index: np.ndarray
    following: np.ndarray

    def of(self, mine: np.ndarray) -> "Chains":
        """The chains of some gaps (G,) bool, renumbered; a chain lies within one domain."""
        number = np.append(np.where(mine, np.cumsum(mine) - 1, -1), -1)
        kept = self.index[(number[self.index] >= 0).any(axis=1)]
        return Chains(number[kept], number[self.following[mine]])


@dataclass(frozen=True)
class ShiftNoise:
    """Errors of the stacking shifts of one domain, periods.

    Parameters
    ----------
    own : float
        Standard deviation of what is new with every gap.
    common : float
        Standard deviation of what neighbours in a row share.
    memory : float
        Correlation of the shared part from one gap to the next.
    """

    own: float
    common: float
    memory: float


def chain_gaps(gaps: pd.DataFrame, right: np.ndarray) -> Chains:
    """Order gaps along their rows.

    Parameters
    ----------
    gaps : pandas.DataFrame
        With ``lower`` and ``upper``, column indices.
    right : numpy.ndarray
        (N,) next column along the row, -1 where there is none.
    """
    n = len(gaps)
    following = np.full(n, -1)
    taken = np.zeros(n, dtype=bool)
    for side in ("lower", "upper"):
        column = gaps[side].to_numpy()
        of_column = np.full(len(right) + 1, -1)
        of_column[column] = np.arange(n)
        after = np.append(right, -1)[column]
        for _ in range(2):  # one column may be missing in the row
            target = of_column[after]
            new = (following < 0) & (target >= 0) & (target != np.arange(n)) & ~taken[target]
            # Two gaps can point at the same next one where rows merge: the first keeps it.
            first = new & ~pd.Series(np.where(new, target, -1 - np.arange(n))).duplicated().to_numpy()
            following[first] = target[first]
            taken[target[first]] = True
            after = np.append(right, -1)[after]
    return Chains(_ordered(following), following)


def _ordered(following: np.ndarray) -> np.ndarray:
    """(C, L) chains as rows of a padded array; a ring is cut anywhere."""
    n = len(following)
    has_previous = np.zeros(n, dtype=bool)
    has_previous[following[following >= 0]] = True
    current = np.flatnonzero(~has_previous)
    places, seen = [], np.zeros(n, dtype=bool)
    while (current >= 0).any():
        places.append(current)
        seen[current[current >= 0]] = True
        current = np.where(current >= 0, following[current], -1)
    index = np.stack(places, axis=1) if places else np.zeros((0, 1), dtype=int)
    lost = np.flatnonzero(~seen)
    if len(lost) == 0:
        return index
    alone = np.full((len(lost), index.shape[1]), -1)
    alone[:, 0] = lost
    return np.concatenate([index, alone])


def shift_noise(shift: np.ndarray, chains: Chains, mine: np.ndarray) -> ShiftNoise | None:
    """Noise of the shifts, whatever the stackings are.

    Three times a shift is a whole number in every stacking, so the mean of exp(6 pi i (difference of two shifts)) is
    exp(-18 pi^2 V), V the variance of the difference. V against the distance along the row tells the part that is new
    with every gap from the part that wanders; its limit, from all gaps together, is twice the total variance.

    Parameters
    ----------
    shift : numpy.ndarray
        (G,) periods.
    chains : Chains
        Their order.
    mine : numpy.ndarray
        (G,) bool, gaps of the domain.

    Returns
    -------
    ShiftNoise or None
        None where too few gaps have a neighbour in their row.
    """
    phasor = np.exp(6j * np.pi * shift)
    lags, variance, weight = [], [], []
    ahead = np.where(mine, np.arange(len(shift)), -1)
    for lag in range(1, max(LAGS) + 1):
        ahead = np.where(ahead >= 0, chains.following[ahead], -1)
        if lag not in LAGS:
            continue
        both = ahead >= 0
        if both.sum() < FEWEST_PAIRS:
            break
        lags.append(lag)
        variance.append(_variance((phasor[ahead[both]] * phasor[both].conj()).mean().real))
        weight.append(np.sqrt(both.sum()))
    if not lags:
        return None
    total = 2.0 * _variance(abs(phasor[mine].mean()))
    distance, measured, importance = (
        np.array([*lags, 10_000]),
        np.array([*variance, total]),
        np.array([*weight, weight[0]]),
    )
    best: tuple[float, ShiftNoise] | None = None
    for memory in MEMORIES:
        design = np.stack([np.full(len(distance), 2.0), 2.0 * (1.0 - memory**distance)], axis=1)
        parts, miss = nnls(design * importance[:, None], measured * importance)
        if best is None or miss < best[0]:
            best = (float(miss), ShiftNoise(float(np.sqrt(parts[0])), float(np.sqrt(parts[1])), memory))
    return best[1] if best else None


def _variance(mean_phasor: float) -> float:
    """Variance of a difference, periods squared, from its mean phasor of order three."""
    return float(-2.0 * np.log(np.clip(mean_phasor, 0.02, 1.0)) / (6 * np.pi) ** 2)


def own_errors(claimed: np.ndarray, noise: ShiftNoise, smallest: float) -> np.ndarray:
    """(G,) standard error of each shift, new with every gap, no less than `smallest`.

    Where the image scatters more than the columns claim, the rest is added; where it scatters less, claims are scaled.
    Relaxation near the ends of faults is no noise, yet moves shifts away from their ideal ones: hence a least error.
    """
    typical = float(np.median(claimed))
    if noise.own >= typical:
        return np.maximum(np.sqrt(claimed**2 + noise.own**2 - typical**2), smallest)
    return np.maximum(claimed * noise.own / typical, smallest)


def log_evidence(shift: np.ndarray, error: np.ndarray) -> np.ndarray:
    """(G, K, 5) log density of each shift, for each offset of `OFFSETS` and each stacking."""
    away = shift[:, None, None] - OFFSETS[None, :, None] - np.array(SHIFTS)
    away = (away + 0.5) % 1.0 - 0.5
    sigma = error[:, None, None]
    density = np.exp(-0.5 * (away / sigma) ** 2) / (sigma * np.sqrt(2 * np.pi))
    out = np.zeros((*density.shape[:2], N_STATES))  # core and lost: any shift, log density 0
    out[..., :3] = np.log((1.0 - BAD_COLUMN) * density + BAD_COLUMN)
    return out


def transition(prior: np.ndarray) -> np.ndarray:
    """(5, 5) probability of the next gap's state (columns) given this one's (rows); `prior` shares out the changes."""
    third, o1 = float(prior[:2].sum()), float(prior[2])
    change = np.zeros((N_STATES, N_STATES))
    change[:2, 2] = change[:2, 3] = 0.5 * FAULT_ENDS * o1 / (third + o1)
    change[2, :2] = 0.5 * FAULT_ENDS * prior[:2] / (third + o1)
    change[2, 3] = 0.5 * FAULT_ENDS * third / (third + o1)
    change[0, 1] = change[1, 0] = SENSE_TURNS
    change[:3, 4] = ORDER_LOST
    change[3, :2] = 0.5 / CORE_COLUMNS * prior[:2] / third
    change[3, 2] = 0.5 / CORE_COLUMNS
    change[4, :3] = 20 * ORDER_LOST * prior[:3] / (third + o1)
    return change + np.diag(1.0 - change.sum(axis=1))


def core_share(shift: np.ndarray, error: np.ndarray, sense: np.ndarray) -> np.ndarray:
    """(G,) probability that a gap in a core lies on the O1 side of its middle.

    From the layered 1/3 (times `sense`) a partial slips to O1 either by -1/3, over 1/6, or by +2/3, over 2/3.
    """
    t = sense * shift
    spread = np.maximum(error, 1e-6)

    def between(low: float, high: float) -> np.ndarray:
        return sum(ndtr((high + k - t) / spread) - ndtr((low + k - t) / spread) for k in (-1.0, 0.0, 1.0))

    return np.clip(between(-1 / 3, 1 / 6), 0.0, 1.0)


def offset_steps(noise: ShiftNoise) -> tuple[np.ndarray, np.ndarray]:
    """(K,) probability of each offset, and (K, K) of the next one given this one."""
    if noise.common < 0.5 * (OFFSETS[1] - OFFSETS[0]):
        start = (np.abs(OFFSETS) < 1e-9).astype(float)
        return start, np.tile(start, (len(OFFSETS), 1))
    start = np.exp(-0.5 * (OFFSETS / noise.common) ** 2)
    spread = max(noise.common * np.sqrt(1 - noise.memory**2), 0.5 * (OFFSETS[1] - OFFSETS[0]))
    steps = np.exp(-0.5 * ((OFFSETS[None, :] - noise.memory * OFFSETS[:, None]) / spread) ** 2)
    return start / start.sum(), steps / steps.sum(axis=1, keepdims=True)


def decide_rows(
    evidence: np.ndarray, field: np.ndarray, chains: Chains, *, prior: np.ndarray, noise: ShiftNoise
) -> np.ndarray:
    """Posterior of the stacking of every gap of the chains: forward and backward sums, exact along each row.

    Parameters
    ----------
    evidence : numpy.ndarray
        (G, K, 5) from `log_evidence`.
    field : numpy.ndarray
        (G, 5) log weight from outside the row.
    chains : Chains
        Order of the gaps.
    prior : numpy.ndarray
        (5,) probability of each state.
    noise : ShiftNoise
        Errors.

    Returns
    -------
    numpy.ndarray
        (G, 5).
    """
    start, steps = offset_steps(noise)
    used = np.flatnonzero(start > 1e-6)
    start, steps = start[used] / start[used].sum(), steps[np.ix_(used, used)]
    steps = steps / steps.sum(axis=1, keepdims=True)
    change = transition(prior)
    log = evidence[:, used] + field[:, None, :]
    weight = np.exp(log - log.max(axis=(1, 2), keepdims=True))
    # Beyond the end of a chain there is nothing to see.
    weight = np.concatenate([weight, np.ones((1, *weight.shape[1:]))])
    n_chains, length = chains.index.shape
    forward = np.empty((length, n_chains, len(used), N_STATES))
    message = np.broadcast_to(start[:, None] * prior, (n_chains, len(used), N_STATES))
    for place in range(length):
        now = message * weight[chains.index[:, place]]
        forward[place] = now / now.sum(axis=(1, 2), keepdims=True)
        message = np.einsum("cks,kj->cjs", forward[place] @ change, steps, optimize=True)
    out = np.zeros((len(evidence) + 1, N_STATES))
    backward = np.ones((n_chains, len(used), N_STATES))
    for place in range(length - 1, -1, -1):
        both = forward[place] * backward
        out[chains.index[:, place]] = both.sum(axis=1) / both.sum(axis=(1, 2))[:, None]
        ahead = backward * weight[chains.index[:, place]]
        backward = np.einsum("cjs,kj->cks", ahead, steps, optimize=True) @ change.T
        backward /= backward.sum(axis=(1, 2), keepdims=True)
    return out[:-1]


def stack_field(above: csr_matrix, q: np.ndarray, prior: np.ndarray, strength: float) -> np.ndarray:
    """(G, 5) log weight from the gaps above and below: faults come in lamellae, senses in twins."""
    return strength * np.asarray(above @ (q - prior))
