"""Windows around columns: which pixels, how far from the centre, and back into the image."""

from dataclasses import dataclass

import torch

# Pixels held at a time (times nine derivatives, float32: 9 MB, which stays near the processor).
CHUNK_PIXELS = 250_000


@dataclass(frozen=True)
class Canvas:
    """The image on the device, in units of its contrast.

    Parameters
    ----------
    image : torch.Tensor
        (H, W) float32, offset and scale taken out.
    valid : torch.Tensor
        (H, W) float32, 1 where a pixel was measured, 0 where not.
    step_nm : tuple of float
        (y, x) pixel size, nm.
    row_shift_nm : torch.Tensor
        (H, 2) float32, how far the beam stood from where a scan row should be, (y, x), nm.
    """

    image: torch.Tensor
    valid: torch.Tensor
    step_nm: tuple[float, float]
    row_shift_nm: torch.Tensor

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return (int(self.image.shape[0]), int(self.image.shape[1]))


@dataclass(frozen=True)
class Window:
    """Pixels around n columns.

    Parameters
    ----------
    index : torch.Tensor
        (n, k) int64, flat pixel index; 0 where outside.
    inside : torch.Tensor
        (n, k) float32, 1 for pixels of the image within the radius.
    u, v : torch.Tensor
        (n, k) float32, pixel minus column along y and x, in units of the typical standard deviation.
    """

    index: torch.Tensor
    inside: torch.Tensor
    u: torch.Tensor
    v: torch.Tensor


def chunk_rows(grid: torch.Tensor) -> int:
    """Columns to handle at a time with a window grid."""
    return max(16, CHUNK_PIXELS // len(grid))


def offsets(radius_nm: float, step_nm: tuple[float, float], device: torch.device) -> torch.Tensor:
    """(k, 2) int64 pixel offsets that cover a disc around any point of the central pixel."""
    half = [int(radius_nm / s) + 1 for s in step_nm]
    y, x = torch.meshgrid(torch.arange(-half[0], half[0] + 1), torch.arange(-half[1], half[1] + 1), indexing="ij")
    slack = 0.5 * (step_nm[0] ** 2 + step_nm[1] ** 2) ** 0.5
    near = (y * step_nm[0]) ** 2 + (x * step_nm[1]) ** 2 <= (radius_nm + slack) ** 2
    return torch.stack([y[near], x[near]], dim=-1).to(device)


def window(
    canvas: Canvas, yx_nm: torch.Tensor, grid: torch.Tensor, radius_nm: torch.Tensor | float, unit_nm: float
) -> Window:
    """Window of each column.

    Parameters
    ----------
    canvas : Canvas
        Image.
    yx_nm : torch.Tensor
        (n, 2) float64 centres, nm.
    grid : torch.Tensor
        (k, 2) from `offsets`, for a radius at least as large.
    radius_nm : torch.Tensor or float
        (n, 1) or one radius, nm.
    unit_nm : float
        Length of one unit of `u` and `v`, nm.
    """
    height, width = canvas.shape
    step = torch.tensor(canvas.step_nm, dtype=torch.float64, device=yx_nm.device)
    pixel = torch.round(yx_nm / step)
    fraction = (pixel * step - yx_nm).to(torch.float32)
    row = pixel[:, :1].long() + grid[:, 0]
    col = pixel[:, 1:].long() + grid[:, 1]
    in_image = (row >= 0) & (row < height) & (col >= 0) & (col < width)
    shift = canvas.row_shift_nm[row.clamp(0, height - 1)]
    u = fraction[:, :1] + grid[:, 0] * canvas.step_nm[0] + shift[..., 0]
    v = fraction[:, 1:] + grid[:, 1] * canvas.step_nm[1] + shift[..., 1]
    inside = in_image & (u * u + v * v <= radius_nm**2)
    index = torch.where(inside, row * width + col, 0)
    return Window(index, inside.to(torch.float32), u / unit_nm, v / unit_nm)
