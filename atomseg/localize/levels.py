"""A coarser image to begin on: the fit settles there and is finished on the original pixels.

Small pixels make windows of many pixels, and most rounds of the fit only need to come near. Where several pixels fit
into half a column's standard deviation, their mean knows almost as much as they do: the first rounds run on means, and
the last ones, the errors and the scan's jitter on the pixels that were measured.
"""

import math
from dataclasses import replace

import torch

from atomseg.localize.model import P_XX, P_YX, P_YY, Fit
from atomseg.localize.noise import Noise
from atomseg.localize.normal import Prior
from atomseg.localize.windows import MARGIN_NM, Canvas

# Coarse pixels are at most this large, nm: 0.57 standard deviations of the narrowest columns in use (35 pm), at which
# the mean of pixels loses 3 % of the information on a position, and 0.4 of the usual ones, where it loses 1.3 %.
COARSE_NM = 0.02


def bins(step_nm: tuple[float, float]) -> tuple[int, int]:
    """Pixels (y, x) that make a coarse one."""
    return (max(1, int(COARSE_NM / step_nm[0])), max(1, int(COARSE_NM / step_nm[1])))


def binned(canvas: Canvas, size: tuple[int, int]) -> Canvas:
    """The canvas with means of `size` (y, x) pixels; `valid` is the share of them that was measured."""
    if size == (1, 1):
        return canvas
    inside = slice(canvas.margin, -canvas.margin)
    step_nm = (canvas.step_nm[0] * size[0], canvas.step_nm[1] * size[1])
    margin = math.ceil(MARGIN_NM / min(step_nm)) + 2
    rest = [-n % b for n, b in zip(canvas.shape, size, strict=True)]
    valid = _means(canvas.valid[inside, inside], size, rest)
    # What was not measured is zero on a canvas.
    image = _means(canvas.image[inside, inside], size, rest) / valid.clamp_min(1e-6)
    around = (margin, margin, margin, margin)
    pad = torch.nn.functional.pad
    return Canvas(image=pad(image, around), valid=pad(valid, around), step_nm=step_nm, margin=margin)


def _means(image: torch.Tensor, size: tuple[int, int], rest: list[int]) -> torch.Tensor:
    """Means of blocks; the image is continued by zeros to whole blocks."""
    whole = torch.nn.functional.pad(image, (0, rest[1], 0, rest[0])) if any(rest) else image
    return torch.nn.functional.avg_pool2d(whole[None, None], size)[0, 0]


def level_of_pixels(level: torch.Tensor, coarse: Canvas, canvas: Canvas, size: tuple[int, int]) -> torch.Tensor:
    """Flat smoothed level of a canvas from that of its means: every pixel has its block's."""
    inside = slice(coarse.margin, -coarse.margin)
    blocks = level.view(coarse.image.shape)[inside, inside]
    repeated = blocks[:, None, :, None].expand(-1, size[0], -1, size[1])
    pixels = repeated.reshape(len(blocks) * size[0], -1)
    height, width = canvas.shape
    of_canvas = torch.zeros_like(canvas.image)
    of_canvas[canvas.margin : -canvas.margin, canvas.margin : -canvas.margin] = pixels[:height, :width]
    return of_canvas.view(-1)


def pixels_of_means(coarse: Canvas, canvas: Canvas, size: tuple[int, int]) -> torch.Tensor:
    """Image of a canvas from that of its means, linear between their centres; 0 in the margin."""
    inside = slice(coarse.margin, -coarse.margin)
    blocks = coarse.image[inside, inside][None, None]
    pixels = torch.nn.functional.interpolate(blocks, scale_factor=[float(b) for b in size], mode="bilinear")[0, 0]
    height, width = canvas.shape
    return torch.nn.functional.pad(pixels[:height, :width], (canvas.margin,) * 4)


def origin_nm(step_nm: tuple[float, float], size: tuple[int, int]) -> tuple[float, float]:
    """Position (y, x) of the first coarse pixel's centre on the original image, nm."""
    return (0.5 * (size[0] - 1) * step_nm[0], 0.5 * (size[1] - 1) * step_nm[1])


def noise_of_pixels(noise: Noise, size: tuple[int, int]) -> Noise:
    """Noise of single pixels from that of means of `size`, if pixels are independent."""
    n = float(size[0] * size[1])
    return Noise(n * noise.constant, n * noise.gain, n * noise.least)


def sharpen(fit: Fit, step_nm: tuple[float, float], size: tuple[int, int]) -> Fit:
    """Columns as pixels see them, from columns as their means do: a mean of b pixels adds (b² - 1) / 12 steps²."""
    shape = fit.shape.clone()
    wide = _covariance(shape[:, P_YY - 2], shape[:, P_XX - 2], shape[:, P_YX - 2])
    narrow = [wide[0] - _added(step_nm, size, 0, fit), wide[1] - _added(step_nm, size, 1, fit), wide[2]]
    shape[:, P_YY - 2], shape[:, P_XX - 2], shape[:, P_YX - 2] = _covariance(*narrow)
    # The light of a column stays: its peak goes with the root of the precision's determinant.
    before, after = (wide[0] * wide[1] - wide[2] ** 2), (narrow[0] * narrow[1] - narrow[2] ** 2)
    shape[:, 0] *= torch.sqrt(before / after)
    return replace(fit, shape=shape)


def sharpen_prior(prior: Prior, unit_nm: float, step_nm: tuple[float, float], size: tuple[int, int]) -> Prior:
    """The typical shape as pixels see it, likewise."""
    one = Fit(torch.zeros(1, 2, dtype=torch.float64), torch.tensor([[1.0, *prior.shape, 0.0, 0.0, 0.0]]), unit_nm)
    a, c, b = sharpen(one, step_nm, size).shape[0, 1:4].tolist()
    return replace(prior, shape=(a, c, b))


def _added(step_nm: tuple[float, float], size: tuple[int, int], axis: int, fit: Fit) -> float:
    """Variance that the mean adds along an axis, square units."""
    return (size[axis] ** 2 - 1) / 12.0 * (step_nm[axis] / fit.unit_nm) ** 2


def _covariance(a: torch.Tensor, c: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Inverse of symmetric 2 x 2 matrices given by (yy, xx, yx)."""
    determinant = a * c - b * b
    return c / determinant, a / determinant, -b / determinant
