"""Precision of the joint fit over four decades of dose, against the Cramer-Rao bound and against two usual ways.

    python benchmarks/accuracy/localization.py [--columns 400] [--seed 0]

Layered-oxide lattices (bright rows 0.473 nm apart, dim interlayer columns between them) in Poisson noise, positions at
random fractions of a pixel. Peers: a two-dimensional Gaussian fit a column by SciPy (least squares on a window, as
Atomap does it) and the centre of mass of the window above its minimum. All start at the same positions, 15 pm (standard
deviation a coordinate) from the truth. Slope is the regression of found on true displacements: below one, displacements
are shrunk, and a small RMSE is the seeds' merit.
Writes benchmarks/results/localization.csv and .json.
"""

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.optimize import OptimizeWarning, curve_fit

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from record import RESULTS, write_json

from atomseg.localize import LocalizeConfig, fit_columns

PIXEL_NM, SIGMA_NM, BETA, DIM = 0.020, 0.050, 0.5, 0.3
ROW_NM, STACK_NM = 0.249, 0.473
WINDOW_PX = 6
CHI2_90 = 4.605170185988092

Fitter = Callable[[np.ndarray, np.ndarray], tuple[np.ndarray, np.ndarray | None]]


def draw(counts: float, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Image, true positions (pixels) and which of them are bright."""
    rows = max(2, round((n / 2 * ROW_NM / STACK_NM) ** 0.5))
    cols = max(2, round(n / 2 / rows))
    y, x = np.meshgrid(np.arange(rows) * STACK_NM, np.arange(cols) * ROW_NM, indexing="ij")
    bright = np.stack([y.ravel(), x.ravel()], axis=-1) + 0.3
    yx = np.concatenate([bright, bright + np.array([STACK_NM / 2, ROW_NM / 3])]) / PIXEL_NM
    yx = yx + rng.uniform(-0.5, 0.5, yx.shape)
    is_bright = np.arange(len(yx)) < len(bright)
    peak = counts * PIXEL_NM**2 / (2 * np.pi * SIGMA_NM**2)
    shape = tuple(np.ceil(yx.max(0) + 0.3 / PIXEL_NM).astype(int))
    image = np.full(shape, BETA * peak)
    grid_y, grid_x = np.mgrid[: shape[0], : shape[1]]
    for (cy, cx), height in zip(yx, np.where(is_bright, peak, DIM * peak), strict=True):
        near = (slice(max(0, int(cy) - 20), int(cy) + 21), slice(max(0, int(cx) - 20), int(cx) + 21))
        r2 = (grid_y[near] - cy) ** 2 + (grid_x[near] - cx) ** 2
        image[near] += height * np.exp(-0.5 * r2 * (PIXEL_NM / SIGMA_NM) ** 2)
    return rng.poisson(image).astype(np.float32), yx, is_bright


def bound_pm(counts: float, relative: float) -> float:
    """Cramer-Rao bound of one coordinate of an isolated column, by summing the Fisher information over pixels, pm."""
    peak = counts * PIXEL_NM**2 / (2 * np.pi * SIGMA_NM**2)
    y, x = np.mgrid[-15:16, -15:16] * PIXEL_NM
    model = relative * peak * np.exp(-0.5 * (y**2 + x**2) / SIGMA_NM**2)
    return float(1e3 / np.sqrt(((model * y / SIGMA_NM**2) ** 2 / (model + BETA * peak)).sum()))


def by_joint_fit(image: np.ndarray, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    table = fit_columns(image, seeds, (PIXEL_NM, PIXEL_NM), LocalizeConfig()).table
    if len(table) != len(seeds):
        raise RuntimeError(f"{len(seeds) - len(table)} columns ran together")
    return table[["y_px", "x_px"]].to_numpy(), table[["sigma_y_pm", "sigma_x_pm"]].to_numpy()


def by_scipy(image: np.ndarray, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Least-squares elliptical Gaussian with constant background on a square window, one column at a time."""

    def model(yx: np.ndarray, *p: float) -> np.ndarray:
        u, v = yx[0] - p[0], yx[1] - p[1]
        return p[2] * np.exp(-0.5 * (p[3] * u * u + p[4] * v * v + 2 * p[5] * u * v)) + p[6]

    found, sigma = seeds.copy(), np.full(seeds.shape, np.nan)
    start = (PIXEL_NM / SIGMA_NM) ** 2
    for k, (cy, cx) in enumerate(seeds):
        row, col = round(cy), round(cx)
        yy, xx = np.mgrid[row - WINDOW_PX : row + WINDOW_PX + 1, col - WINDOW_PX : col + WINDOW_PX + 1]
        inside = (yy >= 0) & (xx >= 0) & (yy < image.shape[0]) & (xx < image.shape[1])
        values = image[yy[inside], xx[inside]].astype(float)
        first = (cy, cx, values.max() - values.min(), start, start, 0.0, values.min())
        try:
            best, covariance = curve_fit(model, (yy[inside], xx[inside]), values, p0=first, maxfev=400)
        except (RuntimeError, OptimizeWarning):
            continue
        if np.hypot(best[0] - cy, best[1] - cx) < WINDOW_PX / 2:
            found[k], sigma[k] = best[:2], np.sqrt(np.diag(covariance)[:2]) * PIXEL_NM * 1e3
    return found, sigma


def by_centre_of_mass(image: np.ndarray, seeds: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
    """Centre of mass above the window's minimum, in a disc of one FWHM, three rounds."""
    found = seeds.copy()
    grid_y, grid_x = np.mgrid[-WINDOW_PX : WINDOW_PX + 1, -WINDOW_PX : WINDOW_PX + 1]
    for _ in range(3):
        for k, (cy, cx) in enumerate(found):
            yy, xx = grid_y + round(cy), grid_x + round(cx)
            inside = (yy >= 0) & (xx >= 0) & (yy < image.shape[0]) & (xx < image.shape[1])
            inside &= (yy - cy) ** 2 + (xx - cx) ** 2 <= (2.355 * SIGMA_NM / PIXEL_NM) ** 2
            weight = image[yy[inside], xx[inside]] - image[yy[inside], xx[inside]].min()
            if weight.sum() > 0:
                found[k] = (yy[inside] * weight).sum() / weight.sum(), (xx[inside] * weight).sum() / weight.sum()
    return found, None


METHODS: dict[str, Fitter] = {
    "joint fit": by_joint_fit,
    "SciPy Gaussian": by_scipy,
    "centre of mass": by_centre_of_mass,
}


def compare(counts: float, n: int, rng: np.random.Generator) -> list[dict[str, object]]:
    """One row for each method and kind of column at one dose."""
    image, yx, bright = draw(counts, n, rng)
    seeds = yx + rng.normal(0.0, 0.015, yx.shape) / PIXEL_NM
    rows: list[dict[str, object]] = []
    for name, method in METHODS.items():
        started = time.perf_counter()
        found, sigma_pm = method(image, seeds)
        seconds = time.perf_counter() - started
        for kind, chosen, relative in (("bright", bright, 1.0), ("interlayer", ~bright, DIM)):
            error = (found - yx)[chosen] * PIXEL_NM * 1e3
            bound = bound_pm(counts, relative)
            moved, answer = (yx - seeds)[chosen].ravel(), (found - seeds)[chosen].ravel()
            covered = None
            if sigma_pm is not None:
                covered = float((((error / sigma_pm[chosen]) ** 2).sum(1) <= CHI2_90).mean())
            rmse = float(np.sqrt((error**2).mean()))
            rows.append(
                {
                    "counts": counts,
                    "columns": kind,
                    "method": name,
                    "n": int(chosen.sum()),
                    "rmse_pm": rmse,
                    "bound_pm": bound,
                    "rmse_over_bound": rmse / bound,
                    "median_error_pm": float(np.median(np.abs(error))),
                    "bias_y_pm": float(error[:, 0].mean()),
                    "bias_x_pm": float(error[:, 1].mean()),
                    "slope": float(answer @ moved / (moved @ moved)),
                    "coverage90": covered,
                    "ms_per_column": 1e3 * seconds / len(yx),
                }
            )
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--columns", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    rows = [row for counts in (100.0, 1e3, 1e4, 1e5) for row in compare(counts, arguments.columns, rng)]
    table = pd.DataFrame(rows)
    RESULTS.mkdir(exist_ok=True)
    table.round(4).to_csv(RESULTS / "localization.csv", index=False)
    setting = {"pixel_nm": PIXEL_NM, "sigma_nm": SIGMA_NM, "background_over_peak": BETA, "interlayer_over_bright": DIM}
    write_json("localization", {"setting": setting, "rows": table.round(4).replace({np.nan: None}).to_dict("records")})
    print(table.round(3).to_string(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
