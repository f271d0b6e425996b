"""How noisy a pixel is, as a function of its level, from what the fit leaves over."""

from dataclasses import dataclass

import numpy as np
import torch

from atomseg.localize.windows import Canvas

N_BINS = 12
# Residuals beyond this many standard deviations of their bin are misfits (a column that was not found), not noise.
CLIP_SIGMAS = 4.0
# Smoothing reaches this many standard deviations, and is done for so many rows at a time.
SMOOTH_REACH, SMOOTH_ROWS = 3.0, 64


@dataclass(frozen=True)
class Noise:
    """Variance of a pixel: ``max(constant + gain * level, least)``, in units of the canvas squared.

    Poisson noise of a detector with offset gives a straight line in the level; the line need not go through zero.
    """

    constant: float
    gain: float
    least: float

    def variance(self, level: torch.Tensor) -> torch.Tensor:
        """Variance at `level`, same shape."""
        return (level * self.gain).add_(self.constant).clamp_min_(self.least)


def smooth_level(canvas: Canvas, smooth_nm: float) -> torch.Tensor:
    """Flat image of the canvas smoothed over `smooth_nm` (standard deviation), mirrored at the border.

    Before any fit it is what a pixel's noise goes by: its weight then hardly follows its own noise. Weights from the
    raw counts would favour the low ones and bias amplitudes.

    Parameters
    ----------
    canvas : Canvas
        Image.
    smooth_nm : float
        Standard deviation of the smoothing, nm.
    """
    sigma_px = (max(smooth_nm / canvas.step_nm[0], 0.5), max(smooth_nm / canvas.step_nm[1], 0.5))
    inside = slice(canvas.margin, -canvas.margin)
    image, valid = canvas.image[inside, inside], canvas.valid[inside, inside]
    if bool(valid.min() == 1.0):
        level = _smoothed(image, sigma_px)
    else:
        level = _smoothed(image * valid, sigma_px) / _smoothed(valid, sigma_px).clamp_min(1e-6)
    return torch.nn.functional.pad(level, (canvas.margin,) * 4).reshape(-1)


def _smoothed(image: torch.Tensor, sigma_px: tuple[float, float]) -> torch.Tensor:
    """An image (H, W) smoothed by a Gaussian of standard deviations (y, x), mirrored at the border."""
    return _smoothed_down(_smoothed_down(image, sigma_px[0]).T, sigma_px[1]).T


def _smoothed_down(image: torch.Tensor, sigma_px: float) -> torch.Tensor:
    """The same along the first axis: blocks of rows times a banded matrix, which takes half the time of a filter."""
    reach = round(SMOOTH_REACH * sigma_px)
    taps = torch.exp(-0.5 * (torch.arange(-reach, reach + 1, device=image.device) / sigma_px) ** 2)
    taps /= taps.sum()
    band = torch.zeros(SMOOTH_ROWS, SMOOTH_ROWS + 2 * reach, device=image.device)
    for row in range(SMOOTH_ROWS):
        band[row, row : row + len(taps)] = taps
    rows = torch.from_numpy(np.pad(np.arange(len(image)), reach, mode="symmetric")).to(image.device)
    mirrored, smooth = image[rows], torch.empty_like(image)
    for start in range(0, len(image), SMOOTH_ROWS):
        stop = min(start + SMOOTH_ROWS, len(image))
        smooth[start:stop] = band[: stop - start, : stop - start + 2 * reach] @ mirrored[start : stop + 2 * reach]
    return smooth


def inverse_variance(canvas: Canvas, noise: Noise, level: torch.Tensor) -> torch.Tensor:
    """Flat inverse variance of every pixel of the canvas, 0 where nothing was measured.

    Parameters
    ----------
    canvas : Canvas
        Image.
    noise : Noise
        Variance as a function of the level.
    level : torch.Tensor
        (pixels,) expected value of every pixel.
    """
    variance = noise.variance(level)
    return torch.div(canvas.valid.reshape(-1), variance, out=variance)


def high_pass_noise(image: np.ndarray) -> Noise:
    """A first, level-independent guess: the robust scatter of the image's fourth differences.

    The filter (1, -4, 6, -4, 1) along each axis takes out everything smooth; of the two axes the quieter is the better
    guess, because what is left of the columns only adds.

    Parameters
    ----------
    image : numpy.ndarray
        (H, W) float, H and W at least 5.
    """
    gain = np.sqrt(1.0 + 16.0 + 36.0 + 16.0 + 1.0)
    scatter = min(float(np.median(np.abs(np.diff(image, 4, axis=axis)))) for axis in (0, 1))
    sigma = max(1.4826 * scatter / gain, 1e-4)
    return Noise(sigma**2, 0.0, 0.1 * sigma**2)


def noise_from_residuals(level: np.ndarray, residual: np.ndarray, freedom: float) -> Noise:
    """Straight line through the residual variance in bins of the level.

    Parameters
    ----------
    level, residual : numpy.ndarray
        (M,) float, model and image minus model of many pixels.
    freedom : float
        Pixels per degree of freedom left: the variance is multiplied by it, because the fit follows the noise.
    """
    edges = np.quantile(level, np.linspace(0.0, 1.0, N_BINS + 1))
    which = np.clip(np.searchsorted(edges, level, side="right") - 1, 0, N_BINS - 1)
    centre, variance = np.zeros(N_BINS), np.zeros(N_BINS)
    for k in range(N_BINS):
        values = residual[which == k]
        if values.size < 20:
            continue
        square = values**2
        kept = square <= CLIP_SIGMAS**2 * square.mean()
        centre[k], variance[k] = level[which == k].mean(), square[kept].mean() * freedom
    filled = variance > 0
    if filled.sum() < 3:
        everything = max(float((residual**2).mean()) * freedom, 1e-10)
        return Noise(everything, 0.0, 0.1 * everything)
    # Relative scatter of every bin is the same, so each weighs by the inverse of its value.
    gain, constant = np.polyfit(centre[filled], variance[filled], 1, w=1.0 / variance[filled])
    if gain < 0:
        gain, constant = 0.0, float(variance[filled].mean())
    return Noise(float(constant), float(gain), 0.3 * float(variance[filled].min()))
