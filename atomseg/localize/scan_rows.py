"""Displacements of scan rows: how much jitter there is and where each row was, from what the columns say of them."""

from dataclasses import dataclass

import numpy as np
import torch

from atomseg.localize.workers import in_order

# Jitter as a first-order autoregressive process: standard deviations (nm) and correlations of successive rows to choose
# from. Micrographs have 0 to 40 pm; without a line synchronization rows are correlated up to 0.9.
SPREADS_NM = np.geomspace(0.0003, 0.06, 40)
CORRELATIONS = (0.0, 0.2, 0.4, 0.6, 0.75, 0.9)
# Gain in log likelihood from which jitter is believed. Two parameters reach 4.6 by chance once in a hundred images.
LEAST_GAIN = 6.0
# What rows are told holds the columns' misfit besides noise: a variance of this share of what is known about the row.
# Next to nothing where a displacement is clearly seen, it is most of what is told of displacements that the columns'
# own positions follow; believed, those would take columns along by 15 pm with a slow prior. How much jitter there is
# is asked with more care than where each row was.
DOUBTED_SHARE, MISFIT_SHARE = 0.05, 0.003
# Rows of which nothing is known have this share of the best known one's misfit.
UNKNOWN_SHARE = 0.001
# Rows are solved in blocks; what is further apart than the overlap shares no column and next to no correlation.
BLOCK_ROWS, OVERLAP_ROWS = 256, 64
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
class RowPrior:
    """Rows as a first-order autoregressive process.

    Parameters
    ----------
    spread : float
        Standard deviation of a row, units.
    correlation : float
        Of successive rows.
    """

    spread: float
    correlation: float


def likeliest_prior(rows: ScanRows, unit_nm: float, workers: int) -> RowPrior | None:
    """Spread and correlation with the largest marginal likelihood; None when there is no jitter to be seen.

    Parameters
    ----------
    rows : ScanRows
        What the columns say.
    unit_nm : float
        Unit of length, nm.
    workers : int
        Threads.
    """
    height = len(rows.score)
    size = min(PRIOR_ROWS, height)
    starts = np.linspace(0, height - size, min(PRIOR_BLOCKS, max(1, height // size))).astype(int).tolist()
    variances = (SPREADS_NM / unit_nm) ** 2
    kernels = [_covariance(size, RowPrior(1.0, correlation)) for correlation in CORRELATIONS]

    def likelihoods(start: int) -> np.ndarray:
        return _evidence(_Told.of(rows, slice(start, start + size), DOUBTED_SHARE), kernels, variances)

    gain = np.sum(list(in_order(likelihoods, starts, workers)), axis=0)
    correlation, spread = np.unravel_index(gain.argmax(), gain.shape)
    if gain[correlation, spread] <= LEAST_GAIN:
        return None
    return RowPrior(float(SPREADS_NM[spread] / unit_nm), CORRELATIONS[correlation])


def solve_rows(rows: ScanRows, prior: RowPrior, workers: int) -> tuple[np.ndarray, np.ndarray]:
    """Displacement of every row, and the variance that not knowing it better leaves every column.

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
    step = BLOCK_ROWS - 2 * OVERLAP_ROWS

    def solve_block(start: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        low, stop = max(0, start - OVERLAP_ROWS), min(height, start + step)
        told = _Told.of(rows, slice(low, min(height, stop + OVERLAP_ROWS)), MISFIT_SHARE)
        moved, posterior = _posterior(told, prior)
        mine = np.flatnonzero((centre >= start) & (centre < stop))
        return moved[start - low : stop - low], mine, _quadratic(posterior, rows.first[mine] - low, rows.answer[mine])

    starts = range(0, height, step)
    for start, (moved, mine, left) in zip(starts, in_order(solve_block, starts, workers), strict=True):
        shift[start : start + len(moved)] = moved
        variance[mine] = left
    return shift, variance


@dataclass(frozen=True)
class _Told:
    """What is told of n rows: score = A shift + e, where e has the covariance A of the noise plus that of the misfit.

    `normal` (n, n) is A, `score` (n,), `misfit` (n,) the variance of the misfit of each row. Torch's, as everything
    here, which keeps to the one thread that it is given.
    """

    normal: torch.Tensor
    score: torch.Tensor
    misfit: torch.Tensor

    @classmethod
    def of(cls, rows: ScanRows, some: slice, share: float) -> "_Told":
        """Of some rows, with a misfit of a share of what is known of each."""
        size = some.stop - some.start
        normal = np.zeros((size, size))
        for distance in range(min(rows.system.shape[1], size)):
            values = rows.system[some.start : some.stop - distance, distance]
            normal[np.arange(size - distance), np.arange(distance, size)] = values
            normal[np.arange(distance, size), np.arange(size - distance)] = values
        known = np.maximum(np.diagonal(normal), 0.0)
        misfit = share * (known + UNKNOWN_SHARE * known.max())
        return cls(*(torch.from_numpy(values) for values in (normal, rows.score[some], misfit)))

    @property
    def factor(self) -> torch.Tensor:
        """(n, n) lower triangle L of the covariance of e, L L^T = A + misfit."""
        return torch.linalg.cholesky(self.normal + torch.diag(self.misfit))


def _covariance(size: int, prior: RowPrior) -> torch.Tensor:
    """(size, size) covariance of rows."""
    row = torch.arange(size, dtype=torch.float64)
    return prior.spread**2 * prior.correlation ** (row[:, None] - row).abs()


def _precision(size: int, prior: RowPrior) -> torch.Tensor:
    """(size, size) inverse of `_covariance`, tridiagonal; for two rows at least."""
    diagonal = torch.full((size,), 1.0 + prior.correlation**2, dtype=torch.float64)
    diagonal[[0, -1]] = 1.0
    beside = torch.full((size - 1,), -prior.correlation, dtype=torch.float64)
    precision = torch.diag(diagonal) + torch.diag(beside, 1) + torch.diag(beside, -1)
    return precision / (prior.spread**2 * (1.0 - prior.correlation**2))


def _evidence(told: _Told, kernels: list[torch.Tensor], variances: np.ndarray) -> np.ndarray:
    """(kernels, variances) log likelihood of displacements with a variance times a kernel (n, n), over that of none.

    The score has the covariance L L^T without displacements and L L^T + s² A K A with them. With
    L^-1 A K A L^-T = U diag(m) U^T and z = U^T L^-1 score, ln p = sum over s² m z² / (1 + s² m) - ln(1 + s² m), halved.
    """
    seen = torch.linalg.solve_triangular(told.factor, torch.cat([told.normal, told.score[:, None]], 1), upper=False)
    normal, score = seen[:, :-1], seen[:, -1]
    gains = []
    for kernel in kernels:
        value, vector = torch.linalg.eigh(normal @ kernel @ normal.T)
        scaled = variances[:, None] * np.maximum(value.numpy(), 0.0)
        power = scaled * (vector.T @ score).numpy() ** 2
        gains.append(0.5 * (power / (1.0 + scaled) - np.log1p(scaled)).sum(1))
    return np.stack(gains)


def _posterior(told: _Told, prior: RowPrior) -> tuple[np.ndarray, np.ndarray]:
    """(n,) most probable displacements and their (n, n) covariance.

    With N = A + M the covariance of e, the rows are known to A N^-1 A = A - M + M N^-1 M, and A N^-1 score is
    score - M N^-1 score.
    """
    inverse = torch.cholesky_inverse(told.factor)
    known = told.normal - torch.diag(told.misfit) + told.misfit[:, None] * inverse * told.misfit
    precision = _precision(len(told.score), prior) + known
    covariance = torch.cholesky_inverse(torch.linalg.cholesky(precision))
    moved = covariance @ (told.score - told.misfit * (inverse @ told.score))
    return moved.numpy(), covariance.numpy()


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
