"""Draws from the ranges of a configuration."""

import numpy as np

from atomseg.simulate.ranges import Range


def uniform(rng: np.random.Generator, bounds: Range) -> float:
    """Uniform draw from (low, high)."""
    return float(rng.uniform(bounds[0], bounds[1]))


def log_uniform(rng: np.random.Generator, bounds: Range) -> float:
    """Draw whose logarithm is uniform in (low, high); both ends above zero."""
    return float(np.exp(rng.uniform(np.log(bounds[0]), np.log(bounds[1]))))


def chance(rng: np.random.Generator, probability: float) -> bool:
    """True with the given probability."""
    return bool(rng.random() < probability)


def happens(rng: np.random.Generator, probability: float) -> bool:
    """`chance` that takes no random number where the probability is 0: scenes without a rarity do not depend on it."""
    return probability > 0.0 and chance(rng, probability)


def integer(rng: np.random.Generator, bounds: tuple[int, int]) -> int:
    """Uniform integer, both ends included."""
    return int(rng.integers(bounds[0], bounds[1] + 1))


def smooth_noise(rng: np.random.Generator, n: int, step: float, correlation: float) -> np.ndarray:
    """(n,) stationary Gaussian noise of unit variance on a line, smooth on a given length.

    Parameters
    ----------
    rng : numpy.random.Generator
        Randomness.
    n : int
        Samples.
    step, correlation : float
        Distance of samples and standard deviation of the smoothing kernel, same unit.
    """
    sigma = max(correlation / step, 0.3)
    radius = int(np.ceil(4 * sigma))
    kernel = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    return np.convolve(rng.standard_normal(n + 2 * radius), kernel / np.sqrt(np.sum(kernel**2)), mode="valid")


class SmoothField:
    """A random smooth scalar field on a rectangle, unit variance, evaluated anywhere by cubic-free bilinear lookup.

    Parameters
    ----------
    rng : numpy.random.Generator
        Randomness.
    extent : tuple of float
        (y, x) size of the rectangle, centred on the origin.
    correlation : tuple of float
        (y, x) standard deviations of the smoothing kernel, same unit as `extent`.
    """

    def __init__(self, rng: np.random.Generator, extent: tuple[float, float], correlation: tuple[float, float]) -> None:
        # Half a kernel sigma a node keeps the bilinear lookup within a few per cent of the smooth field; the cap bounds
        # memory when the kernel is tiny against the rectangle.
        steps = [max(c / 2.0, e / 1500.0, 1e-6) for c, e in zip(correlation, extent, strict=True)]
        shape = [max(int(np.ceil(e / s)) + 3, 4) for e, s in zip(extent, steps, strict=True)]
        kernel = np.exp(-0.5 * (np.arange(-8, 9) / 2.0) ** 2)
        kernel /= np.sqrt(np.sum(kernel**2))
        noise = rng.standard_normal((shape[0] + 16, shape[1] + 16))
        noise = sum(k * noise[i : i + shape[0]] for i, k in enumerate(kernel))
        self._nodes = np.asarray(sum(k * noise[:, i : i + shape[1]] for i, k in enumerate(kernel)))
        self._steps = np.asarray(steps)
        self._shape = np.asarray(shape)

    def __call__(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """Field at points, any shape; points outside the rectangle take the value of its border."""
        fy = np.clip(y / self._steps[0] + (self._shape[0] - 1) / 2, 0.0, self._shape[0] - 1.001)
        fx = np.clip(x / self._steps[1] + (self._shape[1] - 1) / 2, 0.0, self._shape[1] - 1.001)
        iy, ix = fy.astype(np.intp), fx.astype(np.intp)
        ty, tx = fy - iy, fx - ix
        nodes = self._nodes
        top = nodes[iy, ix] * (1 - tx) + nodes[iy, ix + 1] * tx
        bottom = nodes[iy + 1, ix] * (1 - tx) + nodes[iy + 1, ix + 1] * tx
        return np.asarray(top * (1 - ty) + bottom * ty)

    def grid(self, y: np.ndarray, x: np.ndarray) -> np.ndarray:
        """(len(y), len(x)) field on a regular grid given by its two axes: much faster than points."""
        return (
            _hat(y, self._steps[0], int(self._shape[0])) @ self._nodes @ _hat(x, self._steps[1], int(self._shape[1])).T
        )


def _hat(points: np.ndarray, step: float, n: int) -> np.ndarray:
    """(len(points), n) linear interpolation weights."""
    at = np.clip(points / step + (n - 1) / 2, 0.0, n - 1.001)
    index = at.astype(np.intp)
    weights = np.zeros((len(points), n))
    rows = np.arange(len(points))
    weights[rows, index] = 1.0 - (at - index)
    weights[rows, index + 1] = at - index
    return weights
