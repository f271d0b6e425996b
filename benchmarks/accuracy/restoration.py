"""The restored image against clean truth beside filters, and what it shows where nothing is.

    python benchmarks/accuracy/restoration.py [--model NAME|PATH] [--quick] [--seed 0]

Images are drawn here, not by `atomseg.simulate`: layered-oxide columns (bright rows, dim interlayers), Gaussian cores
of 50 pm on a flat background, Poisson noise, pixels of the network's own size, so that nothing is resampled. Truth is
exact.

Two truths, since the network promises a super-resolved image without background and a filter promises neither:

- as imaged: the noise-free columns at their own width. From the output `denoised` and from the filters the true
  background is subtracted, which no user knows.
- super-resolved: the same columns w = 35 pm wide, w the width that the network was trained for. The filters get the
  affine scale that fits best (least squares on the truth), and so does the network; the Wiener filter deconvolves by
  the right width.

PSNR and SSIM count the brightest true value as the peak. Filters (scikit-image): Gaussian, Wiener, non-local means,
total variation, the last two with and without the Anscombe transform; their parameters are the best of a grid on
separate scenes of the same dose, for each truth.

Invented columns: in vacuum, in amorphous films and at vacancies (missing bright columns), where the truth is empty:
energy of the restored image in columns per 100 nm² (or per vacancy, relative to a bright column, within 75 pm), peaks
above a tenth of a bright column, and columns that `localize` reports.

About 5 minutes on two cores (--quick: 1 minute). Writes benchmarks/results/restoration.csv, restoration_empty.csv
and restoration.json.
"""

import argparse
import itertools
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.spatial import cKDTree
from skimage.metrics import peak_signal_noise_ratio, structural_similarity
from skimage.restoration import denoise_nl_means, denoise_tv_chambolle, wiener

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from record import RESULTS, write_json

from atomseg.imaging import output_image
from atomseg.infer import infer
from atomseg.localize import LocalizeConfig, localize
from atomseg.networks import Model, load_model
from atomseg.train.targets import TargetConfig
from atomseg.types import Calibration, CalibrationOrigin, Micrograph, Prediction

COUNTS = (30.0, 100.0, 300.0, 1e3, 1e4, 1e5)
SIGMA_NM, SIDE_NM = 0.050, 7.0
ROW_NM, STACK_NM, DIM, BACKGROUND = 0.249, 0.473, 0.15, 0.3
TRUTHS = ("as imaged", "super-resolved")
FILM_ATOMS_PER_NM2 = 500.0
# Mean level in heights of a bright column: 5 nm of carbon are 500 atoms per nm² of 6^1.7, a column of 10 nm about 17 to
# 35 of 28^1.7 on 0.016 nm², which makes 0.03 to 0.07; an amorphous oxide of heavy cations is several times brighter.
EMPTY = {"vacuum": 0.0, "amorphous carbon": 0.05, "amorphous oxide": 0.3}
BORDER_NM = 0.3
# Energy of a column within this distance: 1.5 widths hold two thirds of it.
NEAR_NM = 0.075

Filter = Callable[[np.ndarray, tuple[float, ...]], np.ndarray]


@dataclass(frozen=True)
class Picture:
    """A drawn image with its truth; heights in counts a pixel."""

    noisy: np.ndarray
    yx_px: np.ndarray
    height: np.ndarray
    missing_px: np.ndarray
    background: float
    peak: float
    pixel_nm: float

    def clean(self, sigma_nm: float) -> np.ndarray:
        """Columns of this width, no background, no noise."""
        return columns_image(self.noisy.shape, self.yx_px, self.height, sigma_nm / self.pixel_nm)


def columns_image(shape: tuple[int, ...], yx_px: np.ndarray, height: np.ndarray, sigma_px: float) -> np.ndarray:
    """Sum of round Gaussians."""
    image = np.zeros(shape)
    reach = int(np.ceil(5 * sigma_px))
    for (cy, cx), h in zip(yx_px, height, strict=True):
        y0, x0 = max(0, round(cy) - reach), max(0, round(cx) - reach)
        y, x = np.ogrid[y0 : min(shape[0], round(cy) + reach + 1), x0 : min(shape[1], round(cx) + reach + 1)]
        if y.size and x.size:
            image[y0 : y0 + y.size, x0 : x0 + x.size] += h * np.exp(
                -0.5 * ((y - cy) ** 2 + (x - cx) ** 2) / sigma_px**2
            )
    return image


def draw(counts: float, pixel_nm: float, rng: np.random.Generator, *, vacancies: float = 0.0) -> Picture:
    """Crystal that fills the image; a share of its bright columns can be missing."""
    side = round(SIDE_NM / pixel_nm)
    reach = SIDE_NM
    rows, cols = np.arange(-reach, reach, STACK_NM), np.arange(-reach, reach, ROW_NM)
    y, x = np.meshgrid(rows, cols, indexing="ij")
    x = x + (np.arange(len(rows)) * ROW_NM / 3)[:, None]
    bright = np.stack([y.ravel(), x.ravel()], axis=1)
    dim = bright + np.array([STACK_NM / 2, ROW_NM / 6])
    angle = rng.uniform(0, 2 * np.pi)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    yx = (np.concatenate([bright, dim]) @ turn.T + rng.normal(0, 0.005, (2 * len(bright), 2))) / pixel_nm + side / 2
    peak = counts * pixel_nm**2 / (2 * np.pi * SIGMA_NM**2)
    height = peak * np.concatenate([rng.normal(1.0, 0.05, len(bright)), DIM * rng.uniform(0.0, 2.0, len(dim))])
    inside = np.all((yx > -10) & (yx < side + 10), axis=1)
    gone = inside & (np.arange(len(yx)) < len(bright)) & (rng.random(len(yx)) < vacancies)
    kept = inside & ~gone
    expected = columns_image((side, side), yx[kept], height[kept], SIGMA_NM / pixel_nm) + BACKGROUND * peak
    noisy = rng.poisson(expected).astype(np.float32)
    return Picture(noisy, yx[kept], height[kept], yx[gone], BACKGROUND * peak, peak, pixel_nm)


def empty(counts: float, pixel_nm: float, rng: np.random.Generator, *, level: float) -> Picture:
    """Vacuum, or an amorphous film: atoms at random places, each as wide as a column is.

    5 nm of a light or of an oxide film have some 500 atoms per nm² (2 g/cm³ of carbon), which is a speckle of a quarter
    of its mean, as fine as columns are.
    """
    side = round(2 * SIDE_NM / pixel_nm)
    peak = counts * pixel_nm**2 / (2 * np.pi * SIGMA_NM**2)
    expected = np.full((side, side), 0.1 * peak)
    if level:
        atoms = rng.poisson(FILM_ATOMS_PER_NM2 * pixel_nm**2, (side, side)).astype(float)
        # Atoms sit in the middle of pixels of half a width: the blur hides it.
        speckle = gaussian_filter(atoms, SIGMA_NM / pixel_nm, mode="wrap")
        expected += level * peak * speckle / speckle.mean()
    nothing = np.zeros((0, 2))
    return Picture(rng.poisson(expected).astype(np.float32), nothing, np.zeros(0), nothing, 0.0, peak, pixel_nm)


def micrograph_of(picture: Picture) -> Micrograph:
    """The noisy image with its calibration."""
    calibration = Calibration((picture.pixel_nm, picture.pixel_nm), CalibrationOrigin.METADATA)
    return Micrograph(image=picture.noisy, calibration=calibration, name="drawn")


# --- filters ----------------------------------------------------------------------------------------------------------


def stabilized(image: np.ndarray, filter_: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """A filter for noise of one size, through the Anscombe transform (10.1093/biomet/35.3-4.246)."""
    return (filter_(2.0 * np.sqrt(image + 0.375)) / 2.0) ** 2 - 0.375


def by_gaussian(image: np.ndarray, p: tuple[float, ...]) -> np.ndarray:
    return np.asarray(gaussian_filter(image, p[0]))


def by_wiener(image: np.ndarray, p: tuple[float, ...]) -> np.ndarray:
    """scikit-image's Wiener filter with a Gaussian kernel of p[1] pixels and balance p[0]."""
    reach = int(np.ceil(4 * max(p[1], 0.5)))
    kernel = np.zeros((2 * reach + 1, 2 * reach + 1))
    kernel[reach, reach] = 1.0
    kernel = gaussian_filter(kernel, p[1]) if p[1] > 0 else kernel
    pad = 4 * reach
    scale = float(image.max())
    wide = np.pad(image / scale, pad, mode="reflect")
    return np.asarray(wiener(wide, kernel, p[0], clip=False))[pad:-pad, pad:-pad] * scale


def by_nl_means(image: np.ndarray, p: tuple[float, ...]) -> np.ndarray:
    def run(values: np.ndarray) -> np.ndarray:
        noise = float(np.median(np.abs(np.diff(values, axis=1))) / 0.954)
        return np.asarray(
            denoise_nl_means(
                values, patch_size=int(p[1]), patch_distance=7, h=p[0] * noise, sigma=noise, fast_mode=True
            )
        )

    return stabilized(image, run) if p[2] else run(image)


def by_total_variation(image: np.ndarray, p: tuple[float, ...]) -> np.ndarray:
    def run(values: np.ndarray) -> np.ndarray:
        noise = float(np.median(np.abs(np.diff(values, axis=1))) / 0.954)
        return np.asarray(denoise_tv_chambolle(values, weight=p[0] * noise))

    return stabilized(image, run) if p[1] else run(image)


def filters(blur_px: float) -> dict[str, tuple[Filter, list[tuple[float, ...]]]]:
    """Filters with their grids; `blur_px` is the kernel that takes super-resolved columns to imaged ones."""
    both = (0.0, 1.0)
    return {
        "none": (lambda image, _p: image, [()]),
        "Gaussian": (by_gaussian, [(s,) for s in (0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5)]),
        "Wiener": (by_wiener, list(itertools.product((1e-3, 1e-2, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0), (0.0, blur_px)))),
        "non-local means": (by_nl_means, list(itertools.product((0.4, 0.6, 0.8, 1.1, 1.5), (3.0, 5.0, 7.0), both))),
        "total variation": (by_total_variation, list(itertools.product((0.3, 0.6, 1.0, 1.5, 2.5, 4.0, 7.0), both))),
    }


# --- comparison -------------------------------------------------------------------------------------------------------


def _scaled(
    picture: Picture, image: np.ndarray, truth: np.ndarray, *, affine: bool
) -> tuple[np.ndarray, np.ndarray, float]:
    """Image, fitted to the truth where asked, and truth away from the border, and the truth's peak."""
    cut = round(BORDER_NM / picture.pixel_nm)
    a, b = image[cut:-cut, cut:-cut].astype(float), truth[cut:-cut, cut:-cut]
    if affine:
        slope, level = np.polyfit(a.ravel(), b.ravel(), 1)
        a = slope * a + level
    return a, b, float(b.max())


def psnr(picture: Picture, image: np.ndarray, truth: np.ndarray, *, affine: bool) -> float:
    """Peak signal-to-noise ratio, dB."""
    a, b, peak = _scaled(picture, image, truth, affine=affine)
    return float(peak_signal_noise_ratio(b, a, data_range=peak))


def quality(picture: Picture, image: np.ndarray, truth: np.ndarray, *, affine: bool) -> tuple[float, float]:
    """PSNR (dB) and SSIM."""
    a, b, peak = _scaled(picture, image, truth, affine=affine)
    similarity = float(structural_similarity(b, a, data_range=peak))
    return float(peak_signal_noise_ratio(b, a, data_range=peak)), similarity


def as_imaged(picture: Picture, prediction: Prediction) -> np.ndarray:
    """The output `denoised` without the true background."""
    size = (picture.pixel_nm, picture.pixel_nm)
    return output_image("denoised", prediction, picture.noisy, picture.yx_px, size).image - picture.background


def compare(counts: float, model: Model, *, scenes: int, seed: int) -> list[dict[str, object]]:
    """Rows of one dose."""
    pixel_nm, narrow_nm = model.card.pixel_size_nm, TargetConfig().restored_sigma_nm
    tuning = [draw(counts, pixel_nm, np.random.default_rng([seed, 1, int(counts), k])) for k in range(2)]
    judged = [draw(counts, pixel_nm, np.random.default_rng([seed, 2, int(counts), k])) for k in range(scenes)]
    widths = dict(zip(TRUTHS, (SIGMA_NM, narrow_nm), strict=True))
    clean = {
        name: ([p.clean(width) for p in tuning], [p.clean(width) for p in judged]) for name, width in widths.items()
    }
    seen = [infer(micrograph_of(p), model) for p in judged]
    restored, wide = [s.restored for s in seen], [as_imaged(p, s) for p, s in zip(judged, seen, strict=True)]
    rows: list[dict[str, object]] = []
    for truth, images in zip(TRUTHS, (wide, restored), strict=True):
        numbers = [quality(p, i, t, affine=truth != TRUTHS[0]) for p, i, t in _three(judged, images, clean[truth][1])]
        rows.append(_row(counts, truth, "atomseg", "", np.mean(numbers, axis=0)))
    for name, (apply, grid) in filters(float(np.sqrt(SIGMA_NM**2 - narrow_nm**2)) / pixel_nm).items():
        tried = [[apply(t.noisy, p) - t.background for t in tuning] for p in grid]
        for truth in TRUTHS:
            affine = truth != TRUTHS[0]
            scores = [
                np.mean([psnr(p, i, t, affine=affine) for p, i, t in _three(tuning, images, clean[truth][0])])
                for images in tried
            ]
            best = grid[int(np.argmax(scores))]
            images = [apply(t.noisy, best) - t.background for t in judged]
            numbers = [quality(p, i, t, affine=affine) for p, i, t in _three(judged, images, clean[truth][1])]
            rows.append(_row(counts, truth, name, str(best), np.mean(numbers, axis=0)))
    return rows


def _three(
    pictures: list[Picture], images: list[np.ndarray], truths: list[np.ndarray]
) -> Iterator[tuple[Picture, np.ndarray, np.ndarray]]:
    return zip(pictures, images, truths, strict=True)


def _row(counts: float, truth: str, method: str, setting: str, numbers: np.ndarray) -> dict[str, object]:
    return {
        "counts": counts,
        "truth": truth,
        "method": method,
        "psnr_db": float(numbers[0]),
        "ssim": float(numbers[1]),
        "setting": setting,
    }


# --- where nothing is -------------------------------------------------------------------------------------------------


def look_for_inventions(counts: float, model: Model, *, scenes: int, seed: int) -> list[dict[str, object]]:
    """Energy, peaks and columns where the truth is empty, for vacuum, film and vacancies."""
    pixel_nm, narrow_nm = model.card.pixel_size_nm, TargetConfig().restored_sigma_nm
    rows: list[dict[str, object]] = []
    for what in (*EMPTY, "vacancies"):
        energy, peaks, reported, amount, brightest = 0.0, 0, 0, 0.0, 0.0
        for k in range(scenes):
            rng = np.random.default_rng([seed, 3, int(counts), k, len(what)])
            if what == "vacancies":
                picture = draw(counts, pixel_nm, rng, vacancies=0.04)
            else:
                picture = empty(counts, pixel_nm, rng, level=EMPTY[what])
            micrograph = micrograph_of(picture)
            prediction = infer(micrograph, model)
            found = localize(micrograph, prediction, LocalizeConfig()).yx_px
            told = invented(picture, prediction.restored, found, narrow_nm / pixel_nm)
            energy, peaks, reported = energy + told[0], peaks + told[1], reported + told[2]
            amount, brightest = amount + told[3], max(brightest, told[4])
        per = 1.0 if what == "vacancies" else 100.0
        rows.append(
            {
                "counts": counts,
                "where": what,
                "amount": amount,
                "unit": "vacancies" if what == "vacancies" else "nm²",
                "energy_in_columns": per * energy / max(amount, 1e-9),
                "peaks_above_tenth": per * peaks / max(amount, 1e-9),
                "brightest_peak": brightest,
                "columns_reported": per * reported / max(amount, 1e-9),
            }
        )
    return rows


def invented(
    picture: Picture, restored: np.ndarray, found_px: np.ndarray, width_px: float
) -> tuple[float, int, int, float, float]:
    """Energy (bright columns), peaks above a tenth, columns, what they are counted over, and the brightest peak."""
    column = 2 * np.pi * width_px**2 * picture.peak
    cut = round(BORDER_NM / picture.pixel_nm)
    top = (restored == maximum_filter(restored, 3)) & (restored > 0.1 * picture.peak)
    top[:cut], top[-cut:], top[:, :cut], top[:, -cut:] = False, False, False, False
    peaks = np.argwhere(top)
    inner = restored[cut:-cut, cut:-cut]
    if not len(picture.yx_px):
        inside = np.all((found_px > cut) & (found_px < np.asarray(restored.shape) - cut), axis=1)
        area = inner.size * picture.pixel_nm**2
        return float(inner.sum() / column), len(peaks), int(inside.sum()), area, float(inner.max() / picture.peak)
    last = np.asarray(restored.shape) - 1 - cut
    sites = picture.missing_px[np.all((picture.missing_px > cut) & (picture.missing_px < last), axis=1)]
    if not len(sites):
        return 0.0, 0, 0, 0.0, 0.0
    near_px = NEAR_NM / picture.pixel_nm
    grid = np.argwhere(np.ones(restored.shape, bool))
    inside = [np.asarray(i) for i in cKDTree(grid).query_ball_point(sites, near_px)]
    # What the flanks of the real neighbours bring there is not an invention.
    excess = (restored - picture.clean(width_px * picture.pixel_nm)).ravel()
    share = 1.0 - np.exp(-0.5 * (near_px / width_px) ** 2)
    energy = sum(float(excess[i].sum()) for i in inside) / (share * column)
    brightest = max(float(excess[i].max()) for i in inside) / picture.peak
    hit = sum(bool(len(n)) for n in cKDTree(peaks).query_ball_point(sites, near_px)) if len(peaks) else 0
    said = sum(bool(len(n)) for n in cKDTree(found_px).query_ball_point(sites, near_px)) if len(found_px) else 0
    return energy, hit, said, float(len(sites)), brightest


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=None, help="name or folder; the default model when left out")
    parser.add_argument("--scenes", type=int, default=4)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--quick", action="store_true", help="two doses, one scene; nothing is written")
    arguments = parser.parse_args()
    model = load_model(arguments.model)
    doses, scenes = (COUNTS[1:4:2], 1) if arguments.quick else (COUNTS, arguments.scenes)
    rows, empties = [], []
    for counts in doses:
        rows += compare(counts, model, scenes=scenes, seed=arguments.seed)
        empties += look_for_inventions(counts, model, scenes=scenes, seed=arguments.seed)
    table, nothing = pd.DataFrame(rows), pd.DataFrame(empties)
    for number in ("psnr_db", "ssim"):
        print(number)
        print(table.pivot_table(index=["truth", "counts"], columns="method", values=number).round(3).to_string())
    print(nothing.round(4).to_string(index=False))
    if not arguments.quick:
        RESULTS.mkdir(exist_ok=True)
        table.round(4).to_csv(RESULTS / "restoration.csv", index=False)
        nothing.round(4).to_csv(RESULTS / "restoration_empty.csv", index=False)
        records = {"quality": table.round(4).to_dict("records"), "empty": nothing.round(4).to_dict("records")}
        write_json("restoration", {"model": model.card.id, "model_sha256": model.sha256, **records})
    return 0


if __name__ == "__main__":
    sys.exit(main())
