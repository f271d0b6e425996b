"""Is there a column: what the network thought before, and what the fitted light says."""

import numpy as np
from scipy.spatial import cKDTree
from scipy.stats import norm

# Columns around one whose light says how bright a column here can be, and which of them is taken as bright.
AROUND, BRIGHT_QUANTILE = 12, 0.75
# Light that no column sent, in shares of a bright neighbour: what the shape of its tail is off by.
STRAY_LIGHT = 0.02


def bright_neighbour(yx_nm: np.ndarray, amplitude: np.ndarray, rows: np.ndarray | None = None) -> np.ndarray:
    """(n,) how bright a column can be here, from the columns around.

    Parameters
    ----------
    yx_nm : numpy.ndarray
        (N, 2) float64, positions, nm; N at least 1.
    amplitude : numpy.ndarray
        (N,) float64, fitted peak heights.
    rows : numpy.ndarray, optional
        (n,) int64, the columns that are asked for; all when None.
    """
    asked = yx_nm if rows is None else yx_nm[rows]
    near = cKDTree(yx_nm).query(asked, k=min(AROUND, len(yx_nm)))[1].reshape(len(asked), -1)
    return np.asarray(np.maximum(np.quantile(amplitude[near], BRIGHT_QUANTILE, axis=1), 1e-12))


def log_odds(amplitude: np.ndarray, error: np.ndarray, bright: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """(N,) logarithm of the odds that a column stands where one was fitted.

    The network's probability is what is known before; the fit multiplies its odds by how much likelier the amplitude is
    if a column is there, anything from no light to a bright neighbour's, than if there is none. Where the dose is too
    low to tell a column's light from none the fit says little, and the network, which saw the whole neighbourhood, is
    believed; where the fit knows the light well, it decides.

    Parameters
    ----------
    amplitude, error : numpy.ndarray
        (N,) float64, fitted peak heights and their standard errors, one unit.
    bright : numpy.ndarray
        (N,) float64, positive, how bright a column can be, the same unit.
    probability : numpy.ndarray
        (N,) float64, the network's.
    """
    spread = np.hypot(np.maximum(error, 1e-12), STRAY_LIGHT * bright)
    score = amplitude / spread
    # The mean of the normal likelihood over amplitudes from 0 to `bright`; logarithms, because scores reach hundreds.
    above, below = norm.logcdf(score), norm.logcdf(score - bright / spread)
    there = above + np.log1p(-np.exp(np.minimum(below - above, -1e-12))) - np.log(bright)
    nothing = norm.logpdf(score) - np.log(spread)
    known = np.clip(probability, 1e-6, 1.0 - 1e-6)
    return np.asarray(np.log(known) - np.log1p(-known) + there - nothing)


def unseen(
    yx_nm: np.ndarray, amplitude: np.ndarray, error: np.ndarray, probability: np.ndarray, min_significance: float
) -> np.ndarray:
    """(N,) bool, nothing is there, as far as the fit can tell.

    Less light than `min_significance` errors is no column where a bright one would have twice that. Where even a bright
    column can hardly be told from nothing, that test would throw out most true columns, and the odds decide.

    Parameters
    ----------
    yx_nm : numpy.ndarray
        (N, 2) float64, positions, nm.
    amplitude, error, probability : numpy.ndarray
        (N,) float64, as in `log_odds`.
    min_significance : float
        Errors.
    """
    if not len(amplitude):
        return np.zeros(0, dtype=bool)
    bright = bright_neighbour(yx_nm, amplitude)
    telling = bright >= 2.0 * min_significance * error
    odds = log_odds(amplitude, error, bright, probability)
    return np.asarray((amplitude < min_significance * error) & (telling | (odds < 0.0)))
