"""The column model: an elliptical Gaussian on a sloping background."""

from dataclasses import dataclass, replace

import numpy as np
import torch

from atomseg.localize.windows import LINEAR, QUADRATIC, Canvas, Grid, anchors, disc, shift_matrix
from atomseg.localize.workers import in_order

# Order of the parameters. Lengths are in units of the typical standard deviation, `Fit.unit_nm`:
# position, peak height, precision (inverse covariance), background at the centre and its slope.
Y, X, AMPLITUDE, P_YY, P_XX, P_YX, LEVEL, SLOPE_Y, SLOPE_X = range(9)
N_PARAMETERS = 9
# A typical Gaussian is drawn out to four standard deviations, where it is 3e-4 of its peak; the widest of those that
# count as typical (below) to 3.5.
RENDER_SIGMAS = 3.5
# Flat indices of pixels and what to add to them.
Light = tuple[torch.Tensor, torch.Tensor]
# Most columns are narrower than this many typical standard deviations; the few others are drawn further out.
WIDE, WIDEST = 1.15, 2.0


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

    def get(self, parameter: int) -> torch.Tensor:
        """(N,) values of a parameter after the position."""
        return self.shape[:, parameter - AMPLITUDE]

    def take(self, rows: torch.Tensor | slice) -> "Fit":
        """The columns `rows`."""
        return Fit(self.yx_nm[rows], self.shape[rows], self.unit_nm)

    def moved(self, rows: torch.Tensor, step: torch.Tensor) -> "Fit":
        """The fit with (n, 9) `step` added to the parameters of `rows`."""
        yx_nm = self.yx_nm.index_add(0, rows, step[:, :AMPLITUDE].double() * self.unit_nm)
        return replace(self, yx_nm=yx_nm, shape=self.shape.index_add(0, rows, step[:, AMPLITUDE:]))


@dataclass(frozen=True)
class Placed:
    """Where columns stand on their canvas, ready for windows of pixels; one for all, because small operations cost.

    Parameters
    ----------
    base : torch.Tensor
        (n, 1) int32 flat index of the nearest pixel.
    about : torch.Tensor
        (n, 6, 6) float32, `shift_matrix` from that pixel to the column.
    exponent, level : torch.Tensor
        (n, 6) and (n, 3) float32, quadratic form in a Gaussian's exponent and local background, about that pixel.
    """

    base: torch.Tensor
    about: torch.Tensor
    exponent: torch.Tensor
    level: torch.Tensor

    def take(self, rows: slice | torch.Tensor) -> "Placed":
        """The columns `rows`."""
        return Placed(self.base[rows], self.about[rows], self.exponent[rows], self.level[rows])

    def index(self, grid: Grid) -> torch.Tensor:
        """(n * k,) int32 flat indices of the windows' pixels."""
        return (self.base + grid.flat).reshape(-1)

    def gaussian(self, grid: Grid) -> torch.Tensor:
        """(n, k) unit Gaussians: the exponent is a quadratic form of the pixel, all of them one matrix product."""
        return (self.exponent @ grid.powers(2).T).exp_()

    def background(self, grid: Grid) -> torch.Tensor:
        """(n, k) local backgrounds."""
        return self.level @ grid.powers(1).T


def place(canvas: Canvas, fit: Fit) -> Placed:
    """Columns on the grid of a canvas."""
    base, shift = anchors(canvas, fit.yx_nm, fit.unit_nm)
    return put(fit, base, shift)


def put(fit: Fit, base: torch.Tensor, shift: torch.Tensor) -> Placed:
    """Columns about given pixels: (n, 1) flat index, and (n, 2) pixel minus column, units."""
    about = shift_matrix(shift)
    form = torch.zeros(len(fit), 1, QUADRATIC, device=about.device)
    form[:, 0, 3], form[:, 0, 4], form[:, 0, 5] = -0.5 * fit.get(P_YY), -fit.get(P_YX), -0.5 * fit.get(P_XX)
    level = (fit.shape[:, None, LEVEL - AMPLITUDE :] @ about[:, :LINEAR, :LINEAR])[:, 0]
    return Placed(base, about, (form @ about)[:, 0], level)


def derivatives(fit: Fit, about: torch.Tensor) -> torch.Tensor:
    """(n, 6, 6): the derivative of a column's light by each of its Gaussian's parameters, divided by its unit Gaussian.

    Rows are parameters, columns monomials about the grid's centre.
    """
    a, c, b, peak = fit.get(P_YY), fit.get(P_XX), fit.get(P_YX), fit.get(AMPLITUDE)
    form = torch.zeros_like(about)
    form[:, Y, 1], form[:, Y, 2] = peak * a, peak * b
    form[:, X, 1], form[:, X, 2] = peak * b, peak * c
    form[:, AMPLITUDE, 0] = 1.0
    form[:, P_YY, 3], form[:, P_XX, 5], form[:, P_YX, 4] = -0.5 * peak, -0.5 * peak, -peak
    return form @ about


def longest_axis(fit: Fit) -> torch.Tensor:
    """(N,) larger standard deviation of each column, units."""
    a, c, b = fit.get(P_YY), fit.get(P_XX), fit.get(P_YX)
    smallest = 0.5 * (a + c) - torch.sqrt((0.5 * (a - c)) ** 2 + b * b)
    return smallest.clamp_min(0.1).rsqrt()


def whole_windows(canvas: Canvas, yx_nm: torch.Tensor, radius_nm: torch.Tensor) -> np.ndarray:
    """(N,) bool, the window about each of (N, 2) places, of (N,) radius, lies in the image."""
    yx, radius = yx_nm.cpu().numpy(), radius_nm.cpu().numpy()[:, None]
    edge = (np.asarray(canvas.shape) - 0.5) * np.asarray(canvas.step_nm)
    least = 0.5 * np.asarray(canvas.step_nm)
    return np.asarray(((yx - radius >= -least) & (yx + radius <= edge)).all(1))


def draw(image: torch.Tensor, canvas: Canvas, fit: Fit, sign: float, workers: int) -> None:
    """Add the columns' Gaussians times `sign` to a flat image of the canvas, in place.

    How far a column is drawn depends on its own width only, so that what was drawn can be taken away again.

    Parameters
    ----------
    image : torch.Tensor
        (H * W,) float32, changed.
    canvas : Canvas
        Whose grid it is.
    fit : Fit
        Columns.
    sign : float
        Factor of their light.
    workers : int
        Threads.
    """
    axis = longest_axis(fit)
    for wanted, sigmas in ((axis <= WIDE, WIDE), (axis > WIDE, WIDEST)):
        rows = wanted.nonzero()[:, 0]
        if not len(rows):
            continue
        grid = disc(canvas, RENDER_SIGMAS * sigmas * fit.unit_nm, fit.unit_nm)

        columns = fit.take(rows)
        placed, peak = place(canvas, columns), sign * columns.shape[:, :1]

        def light(some: slice, grid: Grid = grid, placed: Placed = placed, peak: torch.Tensor = peak) -> Light:
            here = placed.take(some)
            return here.index(grid), here.gaussian(grid).mul_(peak[some]).view(-1)

        for index, value in in_order(light, grid.chunks(len(rows)), workers):
            image.index_add_(0, index, value)


def redraw(image: torch.Tensor, canvas: Canvas, before: Fit, after: Fit, workers: int) -> None:
    """Put columns as they were back into a flat image of what is left, and take them out as they are now, in place.

    Most columns stay on their pixel: both are then one addition to the image, which costs more than the Gaussians.

    Parameters
    ----------
    image : torch.Tensor
        (H * W,) float32, changed.
    canvas : Canvas
        Whose grid it is.
    before, after : Fit
        The same columns.
    workers : int
        Threads.
    """
    old, new = place(canvas, before), place(canvas, after)
    narrow = (longest_axis(before) <= WIDE) & (longest_axis(after) <= WIDE)
    stays = narrow & (old.base == new.base)[:, 0]
    rows, moved = stays.nonzero()[:, 0], (~stays).nonzero()[:, 0]
    if len(moved):
        draw(image, canvas, before.take(moved), 1.0, workers)
        draw(image, canvas, after.take(moved), -1.0, workers)
    if not len(rows):
        return
    grid = disc(canvas, RENDER_SIGMAS * WIDE * after.unit_nm, after.unit_nm)
    old, new = old.take(rows), new.take(rows)
    was, now = before.shape[rows, :1], after.shape[rows, :1]

    def change(some: slice) -> Light:
        here = old.take(some)
        light = here.gaussian(grid).mul_(was[some])
        light -= new.take(some).gaussian(grid).mul_(now[some])
        return here.index(grid), light.view(-1)

    for index, value in in_order(change, grid.chunks(len(rows)), workers):
        image.index_add_(0, index, value)


def residual(canvas: Canvas, fit: Fit, workers: int) -> torch.Tensor:
    """Flat float32 image of the canvas minus all columns' Gaussians."""
    left = canvas.image.reshape(-1).clone()
    draw(left, canvas, fit, -1.0, workers)
    return left
