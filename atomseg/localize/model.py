"""The column model: an elliptical Gaussian on a sloping background, its values and derivatives."""

from dataclasses import dataclass, replace

import torch

from atomseg.localize.windows import Canvas, Window, chunk_rows, offsets, window

# Order of the parameters. Lengths are in units of the typical standard deviation, `Fit.unit_nm`:
# position, peak height, precision (inverse covariance), background at the centre and its slope.
Y, X, AMPLITUDE, P_YY, P_XX, P_YX, LEVEL, SLOPE_Y, SLOPE_X = range(9)
N_PARAMETERS = 9
# A Gaussian is drawn out to four standard deviations, where it is 4e-4 of its peak.
RENDER_SIGMAS = 4.0
# Most columns are narrower than this many typical standard deviations; the few others get their own, larger window.
WIDE = 1.15


@dataclass(frozen=True)
class Fit:
    """State of the joint fit.

    Parameters
    ----------
    yx_nm : torch.Tensor
        (N, 2) float64 positions, nm.
    shape : torch.Tensor
        (N, 7) float32: amplitude, three precisions, background and slope (the parameters after the position).
    unit_nm : float
        Typical standard deviation of a column, nm: the unit of length.
    """

    yx_nm: torch.Tensor
    shape: torch.Tensor
    unit_nm: float

    def __len__(self) -> int:
        return int(self.yx_nm.shape[0])

    def take(self, rows: torch.Tensor | slice) -> "Fit":
        """The columns `rows`."""
        return Fit(self.yx_nm[rows], self.shape[rows], self.unit_nm)

    def moved(self, rows: torch.Tensor, step: torch.Tensor) -> "Fit":
        """The fit with (n, 9) `step` added to the parameters of `rows`."""
        yx_nm = self.yx_nm.index_add(0, rows, step[:, :2].to(torch.float64) * self.unit_nm)
        return replace(self, yx_nm=yx_nm, shape=self.shape.index_add(0, rows, step[:, 2:]))


def gaussian(fit: Fit, win: Window) -> torch.Tensor:
    """(n, k) unit Gaussians of `fit` in their windows."""
    a, c, b = (fit.shape[:, i, None] for i in (P_YY - 2, P_XX - 2, P_YX - 2))
    return torch.exp(-0.5 * (win.u * (a * win.u + 2.0 * b * win.v) + c * win.v * win.v))


def background(fit: Fit, win: Window) -> torch.Tensor:
    """(n, k) local background of each column in its window."""
    level, slope_y, slope_x = (fit.shape[:, i, None] for i in (LEVEL - 2, SLOPE_Y - 2, SLOPE_X - 2))
    return level + slope_y * win.u + slope_x * win.v


def jacobian(fit: Fit, win: Window) -> torch.Tensor:
    """(n, 9, k) derivatives of Gaussian plus background with respect to the parameters."""
    a, c, b = (fit.shape[:, i, None] for i in (P_YY - 2, P_XX - 2, P_YX - 2))
    u, v = win.u, win.v
    g = gaussian(fit, win)
    peak = fit.shape[:, :1] * g
    one = torch.ones_like(u)
    return torch.stack(
        [
            peak * (a * u + b * v),
            peak * (c * v + b * u),
            g,
            -0.5 * peak * u * u,
            -0.5 * peak * v * v,
            -peak * u * v,
            one,
            u,
            v,
        ],
        dim=1,
    )


def render(canvas: Canvas, fit: Fit, rows: torch.Tensor | None = None) -> torch.Tensor:
    """(H * W,) float32 sum of the Gaussians of `rows` (all when None)."""
    total = torch.zeros(canvas.image.numel(), dtype=torch.float32, device=canvas.image.device)
    chosen = fit if rows is None else fit.take(rows)
    # The longest standard deviation in units: the inverse root of the smallest eigenvalue of the precision.
    a, c, b = (chosen.shape[:, i - 2] for i in (P_YY, P_XX, P_YX))
    width = (0.5 * (a + c) - torch.sqrt((0.5 * (a - c)) ** 2 + b * b)).clamp_min(0.1).rsqrt()
    for wanted, widest in ((width <= WIDE, WIDE), (width > WIDE, float(width.max()) if len(width) else 1.0)):
        some_columns = chosen.take(wanted.nonzero()[:, 0])
        radius_nm = RENDER_SIGMAS * widest * fit.unit_nm
        grid = offsets(radius_nm, canvas.step_nm, canvas.image.device)
        for start in range(0, len(some_columns), chunk_rows(grid)):
            some = some_columns.take(slice(start, start + chunk_rows(grid)))
            win = window(canvas, some.yx_nm, grid, radius_nm, fit.unit_nm)
            value = some.shape[:, :1] * gaussian(some, win) * win.inside
            total.index_add_(0, win.index.reshape(-1), value.reshape(-1))
    return total
