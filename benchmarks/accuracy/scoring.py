"""Found columns against true ones, pooled over images: the numbers that every accuracy benchmark reports."""

from dataclasses import dataclass, field

import numpy as np
from scipy.spatial import cKDTree

from atomseg.evaluate.match import match_points

STRICT_NM, LOOSE_NM = 0.05, 0.1
# A 90 % ellipse of two independent normal errors: -2 ln 0.1.
CHI2_90 = 4.605170185988092
# Beyond this distance from crystal nothing is a badly placed column of its edge: a column spacing.
EDGE_NM = 0.25


@dataclass(frozen=True)
class Image:
    """One image's found and true columns.

    Parameters
    ----------
    found_nm, true_nm : numpy.ndarray
        (N, 2) and (M, 2) positions (y, x), nm.
    required : numpy.ndarray
        (M,) bool; the others are neither right nor wrong when found.
    pixel_nm : tuple of float
        Pixel size (y, x).
    sigma_nm : numpy.ndarray or None
        (N, 2) claimed errors.
    bound_nm : numpy.ndarray or None
        (M, 2) smallest possible errors.
    open_nm : numpy.ndarray or None
        (M, 2) smallest possible errors where columns that are not required are unknown too.
    size_nm : tuple of float or None
        Size of the image. Truth lists what lies in it: found columns within 50 pm of its border may belong to one
        outside and are not called false.
    """

    found_nm: np.ndarray
    true_nm: np.ndarray
    required: np.ndarray
    pixel_nm: tuple[float, float]
    sigma_nm: np.ndarray | None = None
    bound_nm: np.ndarray | None = None
    open_nm: np.ndarray | None = None
    size_nm: tuple[float, float] | None = None


@dataclass
class Tally:
    """Sums over images; add with `+=`, ask with `row`."""

    hits: int = 0
    false: int = 0
    missed: int = 0
    error_nm: list[np.ndarray] = field(default_factory=list)
    sigma_nm: list[np.ndarray] = field(default_factory=list)
    bound_nm: list[np.ndarray] = field(default_factory=list)
    open_nm: list[np.ndarray] = field(default_factory=list)
    limit_nm: list[np.ndarray] = field(default_factory=list)
    offset_px: list[np.ndarray] = field(default_factory=list)
    error_px: list[np.ndarray] = field(default_factory=list)
    bend_true_nm: list[np.ndarray] = field(default_factory=list)
    bend_found_nm: list[np.ndarray] = field(default_factory=list)

    def __iadd__(self, other: "Tally") -> "Tally":
        self.hits, self.false, self.missed = (
            self.hits + other.hits,
            self.false + other.false,
            self.missed + other.missed,
        )
        for name, value in vars(other).items():
            if isinstance(value, list):
                getattr(self, name).extend(value)
        return self

    def row(self) -> dict[str, float | int | None]:
        """F1 at 50 pm, RMSE a coordinate, RMSE over bound, bias, coverage, slopes."""
        found, there = self.hits + self.false, self.hits + self.missed
        result: dict[str, float | int | None] = {
            "n_required": there,
            "f1_50pm": 2.0 * self.hits / max(found + there, 1) if there else None,
            "precision_50pm": self.hits / found if found else None,
            "recall_50pm": self.hits / there if there else None,
            "false": self.false,
            "f1_of_bound": self._f1_of_bound(),
        }
        return result | self._errors() | self._slopes()

    def _f1_of_bound(self) -> float | None:
        """F1 at 50 pm of a method that misses and invents nothing and errs by the bound: some errors are larger."""
        limit = _joined(self.limit_nm, 2)
        # A two-dimensional error as large as `STRICT_NM`, of a round normal distribution with the same mean square.
        return float((1.0 - np.exp(-(STRICT_NM**2) / (limit**2).sum(1))).mean()) if len(limit) else None

    def _errors(self) -> dict[str, float | int | None]:
        names = ("rmse_y_pm", "rmse_x_pm", "rmse_pm", "bias_y_pm", "bias_x_pm", "bias_error_pm")
        result: dict[str, float | int | None] = dict.fromkeys(names)
        result |= dict.fromkeys(("bound_pm", "rmse_over_bound", "median_over_bound", "rmse_over_open", "coverage90"))
        error = _joined(self.error_nm, 2)
        if not len(error):
            return result
        square = (error**2).mean(0)
        numbers = 1e3 * np.array([*np.sqrt(square), np.sqrt(square.mean()), *error.mean(0)])
        result |= dict(zip(names, [*numbers.tolist(), float(1e3 * np.sqrt(square.mean() / len(error)))], strict=True))
        bound, sigma = _joined(self.bound_nm, 2), _joined(self.sigma_nm, 2)
        if len(bound) == len(error):
            result["bound_pm"] = float(1e3 * np.sqrt((bound**2).mean()))
            result["rmse_over_bound"] = float(np.sqrt((error**2).mean() / (bound**2).mean()))
            # Half of all normal errors are smaller than 0.6745 standard deviations: without the tails.
            result["median_over_bound"] = float(np.median(np.abs(error / bound)) / 0.6745)
        unknown = _joined(self.open_nm, 2)
        if len(unknown) == len(error):
            result["rmse_over_open"] = float(np.sqrt((error**2).mean() / (unknown**2).mean()))
        if len(sigma) == len(error):
            inside = ((error / np.maximum(sigma, 1e-9)) ** 2).sum(1) <= CHI2_90
            result["coverage90"] = float(inside.mean())
        return result

    def _slopes(self) -> dict[str, float | int | None]:
        offset, error = _joined(self.offset_px, 1), _joined(self.error_px, 1)
        true, found = _joined(self.bend_true_nm, 1), _joined(self.bend_found_nm, 1)
        names = ("slope_subpixel", "slope_subpixel_error", "locking_px", "slope_lattice", "slope_lattice_error")
        result: dict[str, float | int | None] = dict.fromkeys(names)
        if len(offset) > 10:
            slope, slope_error = regression(offset, offset + error)
            wave = np.sin(2.0 * np.pi * offset)
            result |= {"slope_subpixel": slope, "slope_subpixel_error": slope_error}
            result["locking_px"] = float(2.0 * (error * wave).mean())
        if len(true) > 10:
            slope, slope_error = regression(true, found)
            result |= {"slope_lattice": slope, "slope_lattice_error": slope_error}
        return result


def compare(image: Image, inside: np.ndarray | None = None, false_here: np.ndarray | None = None) -> Tally:
    """What one image adds to a tally.

    Hits count within 50 pm, errors within 100 pm so that the radius does not cut them off.

    Parameters
    ----------
    image : Image
        Found and true columns.
    inside : numpy.ndarray, optional
        (M,) bool, true columns to count; all when None.
    false_here : numpy.ndarray, optional
        (N,) bool, found columns that count when they are no true one; all when None.
    """
    chosen = np.ones(len(image.true_nm), bool) if inside is None else inside
    counted = np.ones(len(image.found_nm), bool) if false_here is None else false_here
    if image.size_nm is not None:
        last = np.asarray(image.size_nm) - np.asarray(image.pixel_nm) - STRICT_NM
        counted = counted & np.all((image.found_nm >= STRICT_NM) & (image.found_nm <= last), axis=1)
    wanted = chosen & image.required
    strict = match_points(image.found_nm, image.true_nm, STRICT_NM, image.required)
    pairs = match_points(image.found_nm, image.true_nm, LOOSE_NM, image.required)
    alone = np.ones(len(image.found_nm), bool)
    alone[strict[:, 0]] = False
    hits = int(wanted[strict[:, 1]].sum())
    tally = Tally(hits=hits, false=int((alone & counted).sum()), missed=int(wanted.sum()) - hits)
    if image.bound_nm is not None:
        tally.limit_nm.append(image.bound_nm[wanted & np.isfinite(image.bound_nm).all(1)])
    pairs = pairs[image.required[pairs[:, 1]]]
    mine = wanted[pairs[:, 1]]
    f, t = pairs[mine].T
    if not len(f):
        return tally
    error = image.found_nm[f] - image.true_nm[t]
    true_px = image.true_nm[t] / np.asarray(image.pixel_nm)
    tally.error_nm.append(error)
    tally.offset_px.append((true_px - np.round(true_px)).ravel())
    tally.error_px.append((error / np.asarray(image.pixel_nm)).ravel())
    if image.sigma_nm is not None:
        tally.sigma_nm.append(image.sigma_nm[f])
    if image.bound_nm is not None:
        tally.bound_nm.append(image.bound_nm[t])
    if image.open_nm is not None:
        tally.open_nm.append(image.open_nm[t])
    centre, left, right = bends(image.true_nm[pairs[:, 1]])
    kept = mine[centre]
    for positions, where in (
        (image.true_nm[pairs[:, 1]], tally.bend_true_nm),
        (image.found_nm[pairs[:, 0]], tally.bend_found_nm),
    ):
        bend = positions[centre] - 0.5 * (positions[left] + positions[right])
        where.append(bend[kept].ravel())
    return tally


def bends(yx_nm: np.ndarray, nearest: int = 8, tolerance_nm: float = 0.06) -> tuple[np.ndarray, ...]:
    """Columns that stand between two opposite neighbours: indices (centre, left, right).

    How far such a column is from the middle of its neighbours is a displacement that the lattice does not give away:
    regressed on the true one it shows whether a method pulls columns towards a lattice.
    """
    if len(yx_nm) < nearest + 1:
        return (np.zeros(0, int),) * 3
    index = cKDTree(yx_nm).query(yx_nm, k=nearest + 1)[1][:, 1:]
    step = yx_nm[index] - yx_nm[:, None]
    i, j = np.triu_indices(nearest, 1)
    miss = np.linalg.norm(step[:, i] + step[:, j], axis=2)
    best = miss.argmin(1)
    rows = np.flatnonzero(miss[np.arange(len(yx_nm)), best] < tolerance_nm)
    return rows, index[rows, i[best[rows]]], index[rows, j[best[rows]]]


def regression(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """Slope of y on x with its standard error."""
    u, v = x - x.mean(), y - y.mean()
    power = max(float(u @ u), 1e-30)
    slope = float(u @ v) / power
    rest = v - slope * u
    return slope, float(np.sqrt((rest @ rest) / max(len(x) - 2, 1) / power))


def in_empty(found_nm: np.ndarray, empty: np.ndarray, pixel_nm: tuple[float, float]) -> np.ndarray:
    """(N,) bool, columns whose pixel is True in `empty`."""
    if not len(found_nm):
        return np.zeros(0, bool)
    at = np.round(found_nm / np.asarray(pixel_nm)).astype(int)
    at = np.clip(at, 0, np.asarray(empty.shape) - 1)
    return np.asarray(empty[at[:, 0], at[:, 1]])


def _joined(parts: list[np.ndarray], dimensions: int) -> np.ndarray:
    return np.concatenate(parts) if parts else np.zeros((0, 2) if dimensions == 2 else 0)
