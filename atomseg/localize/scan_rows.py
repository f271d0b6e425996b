"""Displacements of scan rows: how much jitter there is and where each row was, from what the columns say of them."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from atomseg.localize.workers import in_order

# Jitter as a first-order autoregressive process: standard deviations (nm) and correlations of successive rows to choose
# from. Micrographs have 0 to 40 pm; without a line synchronization rows are correlated up to 0.9.
SPREADS_NM = np.geomspace(0.0003, 0.06, 40)
CORRELATIONS = (0.0, 0.2, 0.4, 0.6, 0.75, 0.9)
# Gain in log likelihood from which jitter is believed: two parameters reach 4.6 by chance once in a hundred images. And
# that from which a wave is believed beside it, which may have any of some forty frequencies.
LEAST_GAIN, LEAST_WAVE_GAIN = 6.0, 10.0
# What rows are told holds the columns' misfit besides noise: a variance of this share of what is known about the row.
# Next to nothing where a displacement is clearly seen, it is most of what is told of displacements that the columns'
# own positions follow. How much jitter there is is asked with more care than where each row was.
DOUBTED_SHARE, MISFIT_SHARE = 0.05, 0.003
# Rows of which nothing is known have this share of the best known one's misfit, or of one unit's where none is known.
UNKNOWN_SHARE = 0.01
# Mains interference sways rows together, a wave of 3 to some hundred rows. It displaces columns as drift does and stays
# in the positions; taken for jitter, half of it would be taken out. Frequencies to choose from, per row: steps of half
# of what blocks can tell apart, and smaller ones beside the likeliest, so that ends of blocks keep in step.
FREQUENCIES = np.arange(1, 86) / 256.0
FINER = np.arange(-8, 9) / 2048.0
# Rows are solved in blocks that overlap by this many, or by half a column's height; what is further apart shares next
# to no correlation. A block is four overlaps.
OVERLAP_ROWS = 32
# Rows of the blocks that are asked how much jitter there is, and how many blocks at most.
PRIOR_ROWS, PRIOR_BLOCKS = 128, 6


@dataclass(frozen=True)
class ScanRows:
    """What each column says about the k rows that it covers, for displacements along one axis; lengths in units.

    Parameters
    ----------
    first : numpy.ndarray
        (n,) int64, row of the image at which a column's rows begin; below zero for windows at the border.
    answer : numpy.ndarray
        (n, k) float64, how its position answers to a displacement of each.
    system : numpy.ndarray
        (height, k) float64, upper diagonals of the rows' normal matrix with the columns' parameters eliminated.
    score : numpy.ndarray
        (height,) float64, its right-hand side.
    """

    first: np.ndarray
    answer: np.ndarray
    system: np.ndarray
    score: np.ndarray


@dataclass(frozen=True)
class Wave:
    """Interference: a sine over the rows, of any phase in every block.

    Parameters
    ----------
    spread : float
        Standard deviation, units.
    frequency : float
        Periods a row.
    """

    spread: float
    frequency: float


@dataclass(frozen=True)
class RowPrior:
    """Line jitter as a first-order autoregressive process, beside interference.

    Parameters
    ----------
    spread : float
        Standard deviation of a row's jitter, units.
    correlation : float
        Of successive rows.
    wave : Wave or None
        What else displaces rows, and is no jitter.
    """

    spread: float
    correlation: float
    wave: Wave | None = None


def likeliest_prior(rows: ScanRows, unit_nm: float, workers: int) -> RowPrior | None:
    """Jitter and interference with the largest marginal likelihood; None when there is no jitter to be seen.

    Parameters
    ----------
    rows : ScanRows
        What the columns say.
    unit_nm : float
        Unit of length, nm.
    workers : int
        Threads.
    """
    asked = _Asked.of(rows, SPREADS_NM / unit_nm, workers)
    jitter, gain = _likeliest_jitter(asked, None)
    if gain <= LEAST_GAIN:
        return None
    # Jitter alone takes on what it can of a wave: the two are compared with what both explain together.
    wave = _likeliest_wave(asked, jitter)
    beside, more = _likeliest_jitter(asked, wave)
    by_wave = asked.gains(lambda told: _wave_evidence(told, None, np.array([wave.frequency]), wave.spread**2), None)
    if float(by_wave.max()) + max(more, 0.0) <= gain + LEAST_WAVE_GAIN:
        return jitter
    return beside if more > LEAST_GAIN else None


@dataclass(frozen=True)
class _Asked:
    """Blocks of rows that are asked how much jitter there is, and the spreads to choose from, units."""

    rows: ScanRows
    blocks: list[slice]
    spreads: np.ndarray
    workers: int

    @classmethod
    def of(cls, rows: ScanRows, spreads: np.ndarray, workers: int) -> "_Asked":
        """Blocks evenly taken from all rows."""
        height = len(rows.score)
        size = min(PRIOR_ROWS, height)
        starts = np.linspace(0, height - size, min(PRIOR_BLOCKS, max(1, height // size))).astype(int)
        return cls(rows, [slice(start, start + size) for start in starts.tolist()], spreads, workers)

    def gains(self, evidence: Callable[["_Told"], np.ndarray], wave: Wave | None) -> np.ndarray:
        """Log likelihood of all blocks together, where there is a wave already."""
        told = partial(_Told.of, self.rows, share=DOUBTED_SHARE, wave=wave)
        return np.sum(list(in_order(lambda some: evidence(told(some)), self.blocks, self.workers)), axis=0)


def _likeliest_jitter(asked: _Asked, wave: Wave | None) -> tuple[RowPrior, float]:
    """Jitter beside a given wave, and the log likelihood that it gains."""
    gain = asked.gains(lambda told: _evidence(told, asked.spreads**2), wave)
    correlation, spread = np.unravel_index(gain.argmax(), gain.shape)
    return RowPrior(float(asked.spreads[spread]), CORRELATIONS[correlation], wave), float(gain.max())


def _likeliest_wave(asked: _Asked, jitter: RowPrior) -> Wave:
    """A wave beside given jitter."""

    def likeliest(frequencies: np.ndarray) -> Wave:
        gain = asked.gains(lambda told: _wave_evidence(told, jitter, frequencies, asked.spreads**2), None)
        frequency, spread = np.unravel_index(gain.argmax(), gain.shape)
        return Wave(float(asked.spreads[spread]), float(frequencies[frequency]))

    near = likeliest(FREQUENCIES).frequency + FINER
    return likeliest(near[near > 0.0])


def solve_rows(rows: ScanRows, prior: RowPrior, workers: int) -> tuple[np.ndarray, np.ndarray]:
    """Jitter of every row, and the variance that not knowing it better leaves every column.

    Parameters
    ----------
    rows : ScanRows
        What the columns say.
    prior : RowPrior
        How rows are displaced.
    workers : int
        Threads.

    Returns
    -------
    shift : numpy.ndarray
        (height + 2 k,) float64, units, padded so that all columns' rows exist. Rows outside the image, which windows at
        the border reach, are not displaced; negative row numbers wrap to the padding at the end.
    variance : numpy.ndarray
        (n,) float64, units².
    """
    height, k = len(rows.score), rows.answer.shape[1]
    shift, variance = np.zeros(height + 2 * k), np.zeros(len(rows.first))
    centre = rows.first + k // 2
    overlap = max(OVERLAP_ROWS, k // 2)
    step = 2 * overlap

    def solve_block(start: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        stop = min(height, start + step)
        some = slice(max(0, start - overlap), min(height, stop + overlap))
        told = _Told.of(rows, some, MISFIT_SHARE, prior.wave)
        moved, posterior = _posterior(told, prior)
        mine = np.flatnonzero((centre >= start) & (centre < stop))
        left = _quadratic(posterior, rows.first[mine] - told.first, rows.answer[mine])
        return moved[start - told.first : stop - told.first], mine, left

    starts = range(0, height, step)
    for start, (moved, mine, left) in zip(starts, in_order(solve_block, starts, workers), strict=True):
        shift[start : start + len(moved)] = moved
        variance[mine] = left
    return shift, variance


@dataclass(frozen=True)
class _Told:
    """What is told of m rows by the scores of n of them: score = A shift + e.

    Columns at the ends of a block are moved by rows beyond it, and what is told of smooth displacements is a small
    difference of what rows beside each other say: leaving those rows out would be taken for a displacement.

    `first` is the first of the m rows, `normal` (n, m) is A, `score` (n,), `noise` (n, n) the covariance of e: A of the
    noise, the misfit's, and that of a wave. Torch's, as all of it here, which keeps to the one thread that it is given.
    """

    first: int
    normal: torch.Tensor
    score: torch.Tensor
    noise: torch.Tensor

    @classmethod
    def of(cls, rows: ScanRows, some: slice, share: float, wave: Wave | None) -> "_Told":
        """By some rows, with a misfit of a share of what is known of each."""
        k = rows.system.shape[1]
        first, last = max(0, some.start - k + 1), min(len(rows.score), some.stop + k - 1)
        size = last - first
        dense = np.zeros((size, size))
        for distance in range(min(k, size)):
            values = rows.system[first : last - distance, distance]
            dense[np.arange(size - distance), np.arange(distance, size)] = values
            dense[np.arange(distance, size), np.arange(size - distance)] = values
        inside = slice(some.start - first, some.stop - first)
        normal, score = torch.from_numpy(dense[inside]), torch.from_numpy(rows.score[some])
        known = torch.diagonal(normal[:, inside]).clamp_min(0.0)
        noise = normal[:, inside] + torch.diag(share * (known + UNKNOWN_SHARE * known.max().clamp_min(1.0)))
        if wave is not None:
            swayed = normal @ _waves(size, np.array([wave.frequency]))
            noise = noise + wave.spread**2 * swayed @ swayed.T
        return cls(first, normal, score, noise)

    def seen(self, more: torch.Tensor | None = None) -> torch.Tensor:
        """(n, m + 1) A and the score, L^-1 [A, score] with L L^T the covariance of e, or that and more."""
        noise = self.noise if more is None else self.noise + more
        both = torch.cat([self.normal, self.score[:, None]], 1)
        return torch.linalg.solve_triangular(torch.linalg.cholesky(noise), both, upper=False)


def _waves(size: int, frequencies: np.ndarray) -> torch.Tensor:
    """(size, 2 m) cosines and sines of m frequencies, by turns."""
    phase = 2.0 * np.pi * np.arange(size)[:, None] * frequencies
    return torch.from_numpy(np.stack([np.cos(phase), np.sin(phase)], axis=-1).reshape(size, -1))


def _covariance(size: int, prior: RowPrior) -> torch.Tensor:
    """(size, size) covariance of rows by jitter."""
    row = torch.arange(size, dtype=torch.float64)
    return prior.spread**2 * prior.correlation ** (row[:, None] - row).abs()


def _precision(size: int, prior: RowPrior) -> torch.Tensor:
    """(size, size) inverse of `_covariance`, tridiagonal; for two rows at least."""
    diagonal = torch.full((size,), 1.0 + prior.correlation**2, dtype=torch.float64)
    diagonal[[0, -1]] = 1.0
    beside = torch.full((size - 1,), -prior.correlation, dtype=torch.float64)
    precision = torch.diag(diagonal) + torch.diag(beside, 1) + torch.diag(beside, -1)
    return precision / (prior.spread**2 * (1.0 - prior.correlation**2))


def _evidence(told: _Told, variances: np.ndarray) -> np.ndarray:
    """(correlations, variances) log likelihood of jitter, over that of none.

    The score has the covariance L L^T without jitter and L L^T + s² A K A^T with it. With
    L^-1 A K A^T L^-T = U diag(m) U^T and z = U^T L^-1 score, the gain is that of `_gain` with p = m z².
    """
    seen = told.seen()
    normal, score = seen[:, :-1], seen[:, -1]
    gains = []
    for correlation in CORRELATIONS:
        kernel = _covariance(normal.shape[1], RowPrior(1.0, correlation))
        value, vector = torch.linalg.eigh(normal @ kernel @ normal.T)
        gains.append(_gain(value, value * (vector.T @ score) ** 2, variances))
    return np.stack(gains)


def _wave_evidence(
    told: _Told, jitter: RowPrior | None, frequencies: np.ndarray, variances: np.ndarray | float
) -> np.ndarray:
    """(frequencies, variances) the same of waves, where rows may have jitter already.

    A wave's kernel is W W^T with W its cosine and sine: with B = L^-1 A W and B^T B = U diag(m) U^T, p is the square of
    U^T B^T L^-1 score.
    """
    size = told.normal.shape[1]
    seen = told.seen(None if jitter is None else told.normal @ _covariance(size, jitter) @ told.normal.T)
    shown = (seen[:, :-1] @ _waves(size, frequencies)).view(len(seen), -1, 2).movedim(1, 0)
    value, vector = torch.linalg.eigh(shown.mT @ shown)
    power = (vector.mT @ (shown.mT @ seen[:, -1:]))[..., 0] ** 2
    return _gain(value, power, np.atleast_1d(variances))


def _gain(value: torch.Tensor, power: torch.Tensor, variances: np.ndarray) -> np.ndarray:
    """(..., variances) half the sum over directions (..., n) of s² p / (1 + s² m) - ln(1 + s² m)."""
    m, p = (t.numpy()[..., None, :] for t in (value.clamp_min(0.0), power.clamp_min(0.0)))
    scaled = variances[:, None] * m
    return np.asarray(0.5 * (variances[:, None] * p / (1.0 + scaled) - np.log1p(scaled)).sum(-1))


def _posterior(told: _Told, prior: RowPrior) -> tuple[np.ndarray, np.ndarray]:
    """(m,) most probable jitter and its (m, m) covariance: the inverse of K^-1 + A^T N^-1 A, N the covariance of e."""
    seen = told.seen()
    known = seen.T @ seen
    precision = _precision(len(known) - 1, prior) + known[:-1, :-1]
    covariance = torch.cholesky_inverse(torch.linalg.cholesky(precision))
    return (covariance @ known[:-1, -1]).numpy(), covariance.numpy()


def _quadratic(matrix: np.ndarray, first: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """(n,) v^T M v with the block of a symmetric matrix that begins at `first`; zeros are outside the matrix."""
    k = vectors.shape[1]
    around = np.pad(matrix, k)
    total = np.zeros(len(first))
    for distance in range(k):
        diagonal = np.diagonal(around, distance)
        at = first[:, None] + k + np.arange(k - distance)
        products = vectors[:, : k - distance] * vectors[:, distance:]
        total += (1.0 if distance == 0 else 2.0) * np.einsum("nk,nk->n", products, diagonal[at])
    return total
