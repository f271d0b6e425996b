"""Windows around columns: which pixels, and how sums over them become matrix products."""

import math
from dataclasses import dataclass
from functools import lru_cache

import torch

FWHM_PER_SIGMA = 2.3548200450309493
# Pixels held at a time: many more would leave the cache; with fewer, starting operations costs more than they do.
CHUNK_PIXELS = 140_000
# On an accelerator every operation costs its start instead: 16 million pixels are 64 MB an array, and ten are held.
DEVICE_PIXELS = 16_000_000
# The widest Gaussian that the fit allows is drawn this far, nm: four times twice the widest typical standard deviation.
NARROWEST_NM, WIDEST_NM = 0.025, 0.14
MARGIN_NM = 8.0 * WIDEST_NM
# Exponents (y, x) of the monomials up to fourth degree, by degree: products of two derivatives of a Gaussian need them.
MONOMIALS = tuple((degree - k, k) for degree in range(5) for k in range(degree + 1))
# How many of them there are up to degree 1, 2, 3, 4.
LINEAR, QUADRATIC, CUBIC, QUARTIC = 3, 6, 10, 15
COUNTS = (1, LINEAR, QUADRATIC, CUBIC, QUARTIC)


@dataclass(frozen=True)
class Canvas:
    """The image on the device, in units of its contrast, with a margin around it so that no window leaves it.

    Parameters
    ----------
    image : torch.Tensor
        (H + 2 margin, W + 2 margin) float32, offset and scale taken out; 0 in the margin.
    valid : torch.Tensor
        Same shape, float32, 1 where a pixel was measured, 0 where not and in the margin; where a pixel is the mean of
        several, the share of them that was measured.
    step_nm : tuple of float
        (y, x) pixel size, nm.
    margin : int
        Pixels added on every side.
    """

    image: torch.Tensor
    valid: torch.Tensor
    step_nm: tuple[float, float]
    margin: int

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the image without its margin, in pixels."""
        return (int(self.image.shape[0]) - 2 * self.margin, int(self.image.shape[1]) - 2 * self.margin)


@dataclass(frozen=True)
class Grid:
    """A disc of pixels around a central one.

    Parameters
    ----------
    flat : torch.Tensor
        (k,) int32, offset of the flat index.
    monomials : tuple of torch.Tensor
        (k, m) float32 each, monomials up to degree 0 to 4 of the distance to the central pixel, in units: an array of
        its own for every degree, because products with a part of a larger one are slower.
    radius2 : torch.Tensor
        (k,) float32, squared distance to the central pixel, square units.
    rows : int
        Rows of pixels that it covers.
    """

    flat: torch.Tensor
    monomials: tuple[torch.Tensor, ...]
    radius2: torch.Tensor
    rows: int

    def powers(self, degree: int) -> torch.Tensor:
        """(k, m) monomials up to a degree."""
        return self.monomials[degree]

    def __len__(self) -> int:
        return len(self.flat)

    def chunks(self, n: int) -> list[slice]:
        """`n` columns in as many at a time as are handled together."""
        pixels = CHUNK_PIXELS if self.flat.device.type == "cpu" else DEVICE_PIXELS
        size = max(16, pixels // len(self.flat))
        return [slice(start, min(start + size, n)) for start in range(0, n, size)]


def disc(canvas: Canvas, radius_nm: float, unit_nm: float, *, corners: bool = False) -> Grid:
    """Pixels within a radius of the central pixel, cut off at the canvas' margin.

    Parameters
    ----------
    canvas : Canvas
        Image.
    radius_nm : float
        Radius, nm.
    unit_nm : float
        Unit of length, nm.
    corners : bool
        Keep the whole square around the disc, row by row.
    """
    return _disc(
        canvas.step_nm, canvas.margin, int(canvas.image.shape[1]), canvas.image.device, radius_nm, unit_nm, corners
    )


# Every round of the fit asks for the same few.
@lru_cache(maxsize=16)
def _disc(  # noqa: PLR0917 - the key of the cache
    step_nm: tuple[float, float],
    margin: int,
    width: int,
    device: torch.device,
    radius_nm: float,
    unit_nm: float,
    corners: bool,
) -> Grid:
    """`disc` from plain values."""
    half = [min(margin - 1, math.ceil(radius_nm / s)) for s in step_nm]
    y, x = torch.meshgrid(torch.arange(-half[0], half[0] + 1), torch.arange(-half[1], half[1] + 1), indexing="ij")
    u, v = y.double() * (step_nm[0] / unit_nm), x.double() * (step_nm[1] / unit_nm)
    near = (u * u + v * v <= (radius_nm / unit_nm) ** 2) | corners
    y, x, u, v = (t[near] for t in (y, x, u, v))
    monomials = torch.stack([u**p * v**q for p, q in MONOMIALS], dim=1).float().to(device)
    return Grid(
        flat=(y * width + x).to(device, torch.int32),
        monomials=tuple(monomials[:, :count].contiguous() for count in COUNTS),
        radius2=(u * u + v * v).float().to(device),
        rows=2 * half[0] + 1,
    )


def anchors(canvas: Canvas, yx_nm: torch.Tensor, unit_nm: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Central pixel of each column and where the column is from there.

    Parameters
    ----------
    canvas : Canvas
        Image.
    yx_nm : torch.Tensor
        (n, 2) float64 columns, nm, at most half a margin outside the image.
    unit_nm : float
        Unit of length, nm.

    Returns
    -------
    base : torch.Tensor
        (n, 1) int32 flat index of the nearest pixel.
    shift : torch.Tensor
        (n, 2) float32 pixel minus column, units.
    """
    step = torch.tensor(canvas.step_nm, dtype=torch.float64, device=yx_nm.device)
    pixel = torch.round(yx_nm / step)
    shift = ((pixel * step - yx_nm) / unit_nm).float()
    index = pixel.int() + canvas.margin
    return (index[:, 0] * canvas.image.shape[1] + index[:, 1])[:, None], shift


def shift_matrix(shift: torch.Tensor) -> torch.Tensor:
    """(n, 6, 6) float32 matrices that turn quadratic monomials about the central pixel into those about the column."""
    fy, fx = shift[:, 0], shift[:, 1]
    matrix = torch.eye(QUADRATIC, device=shift.device).repeat(len(shift), 1, 1)
    matrix[:, 1, 0], matrix[:, 2, 0] = fy, fx
    matrix[:, 3, 0], matrix[:, 3, 1] = fy * fy, 2.0 * fy
    matrix[:, 4, 0], matrix[:, 4, 1], matrix[:, 4, 2] = fy * fx, fx, fy
    matrix[:, 5, 0], matrix[:, 5, 2] = fx * fx, 2.0 * fx
    return matrix


def moment_matrix(sums: torch.Tensor, rows: int, cols: int) -> torch.Tensor:
    """(..., rows, cols) sums of products of monomials, from the (..., m) sums of single monomials."""
    index = [
        MONOMIALS.index((MONOMIALS[r][0] + MONOMIALS[c][0], MONOMIALS[r][1] + MONOMIALS[c][1]))
        for r in range(rows)
        for c in range(cols)
    ]
    return sums.index_select(-1, torch.tensor(index, device=sums.device)).view(*sums.shape[:-1], rows, cols)


def polynomial_products(one: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    """Coefficients of products of polynomials: (n, r) of one times (n, q, c) of q others, as (n, q, m)."""
    r, c = one.shape[1], others.shape[2]
    powers = [tuple(map(sum, zip(MONOMIALS[i], MONOMIALS[j], strict=True))) for i in range(r) for j in range(c)]
    degree = max(map(sum, powers))
    place = torch.zeros(r * c, COUNTS[degree], device=one.device)
    place[range(r * c), [MONOMIALS.index((p, q)) for p, q in powers]] = 1.0
    outer = one[:, None, :, None] * others[:, :, None, :]
    return outer.reshape(len(one), others.shape[1], r * c) @ place
