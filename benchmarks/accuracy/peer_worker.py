"""One program of `peers.py` on a set of images, in a process of its own; peers are imported only by their own function.

    python benchmarks/accuracy/peer_worker.py METHOD JOB.npz OUT.npz [WEIGHTS]
    python benchmarks/accuracy/peer_worker.py train-atomai DATA.npz WEIGHTS

Peers get what a careful user has and more: pixel size, column width, closest distance of two columns, and for every
image the threshold (and filter width, distance, window) out of a grid with which their F1 at 50 pm is highest, chosen
with the truth. atomseg gets none of it. Time is that of the run with the chosen setting; the choice is not counted.
"""

import itertools
import resource
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter, zoom
from scipy.optimize import OptimizeWarning, curve_fit
from scipy.spatial import cKDTree

# AtomAI's network knows one pixel size: images are brought to it, nm.
ATOMAI_PIXEL_NM = 0.025
# Settings are chosen on so large a middle of an image, pixels: some hundred columns.
TUNED_PX = 512


@dataclass(frozen=True)
class Job:
    """One image with what is known about it; truth is for choosing a setting only."""

    image: np.ndarray
    pixel_nm: np.ndarray
    sigma_nm: float
    nearest_nm: float
    true_px: np.ndarray
    required: np.ndarray

    @property
    def sigma_px(self) -> float:
        """Standard deviation of a column, pixels."""
        return self.sigma_nm / float(np.mean(self.pixel_nm))

    @property
    def nearest_px(self) -> float:
        """Closest distance of two columns, pixels."""
        return self.nearest_nm / float(np.mean(self.pixel_nm))

    def hits(self, yx_px: np.ndarray) -> tuple[float, float]:
        """F1 within 50 pm and RMSE (2D, nm), by mutual nearest neighbours."""
        if not len(yx_px):
            return 0.0, np.inf
        found, true = yx_px * self.pixel_nm, self.true_px * self.pixel_nm
        distance, owner = cKDTree(true).query(found)
        _, back = cKDTree(found).query(true)
        matched = (distance <= 0.05) & (back[owner] == np.arange(len(found)))
        good = matched & self.required[owner]
        false, missed = int((~matched).sum()), int(self.required.sum() - good.sum())
        f1 = 2 * good.sum() / max(2 * good.sum() + false + missed, 1)
        return float(f1), float(np.sqrt((distance[good] ** 2).mean())) if good.any() else np.inf


def middle(
    image: np.ndarray, true_px: np.ndarray, required: np.ndarray, pixel_nm: Sequence[float] | np.ndarray, side: int
) -> dict[str, np.ndarray]:
    """`image`, `true_px` and `required` of the middle of an image.

    Columns beside its border are neither right nor wrong, being seen by their flank.
    """
    low = [max(0, (n - side) // 2) for n in image.shape]
    cut = image[low[0] : low[0] + side, low[1] : low[1] + side]
    margin = 0.1 / np.asarray(pixel_nm)
    moved = true_px - low
    last = np.asarray(cut.shape) - 1.0
    near = np.all((moved >= -margin) & (moved <= last + margin), axis=1)
    clear = np.all((moved >= margin) & (moved <= last - margin), axis=1)
    return {"image": cut, "true_px": moved[near], "required": (required & clear)[near]}


Setting = tuple[float, ...]
Detect = Callable[[Job, Setting], np.ndarray]
Refine = Callable[[Job, np.ndarray, float], np.ndarray]


@dataclass(frozen=True)
class Method:
    """How a program finds columns and places them; `grid` are the settings of the first, `windows` of the second."""

    detect: Detect
    refine: Refine
    grid: list[Setting]
    windows: tuple[float, ...] = (0.0,)


def choose(method: Method, job: Job) -> tuple[Setting, float]:
    """Setting of the highest F1, then the window of the smallest RMSE."""
    scores = [job.hits(method.detect(job, setting))[0] for setting in method.grid]
    setting = method.grid[int(np.argmax(scores))]
    if len(method.windows) == 1:
        return setting, method.windows[0]
    found = method.detect(job, setting)
    errors = [job.hits(method.refine(job, found, window)) for window in method.windows]
    return setting, method.windows[int(np.argmax([f1 - rmse for f1, rmse in errors]))]


def kept(job: Job, found: np.ndarray, moved: np.ndarray) -> np.ndarray:
    """Refined positions; a refinement that ran away or failed is taken back."""
    wrong = ~np.isfinite(moved).all(1)
    wrong |= np.linalg.norm((np.nan_to_num(moved) - found) * job.pixel_nm, axis=1) > 0.5 * job.nearest_nm
    return np.where(wrong[:, None], found, moved)


# --- Atomap ---------------------------------------------------------------------------------------------------------


def atomap_method(*, seeded: bool = False) -> Method:
    """Atomap; `seeded`: from the given positions, rounded to whole pixels, instead of its own."""
    import atomap.api as am
    import hyperspy.api as hs
    from atomap.atom_finding_refining import get_atom_positions

    hs.preferences.General.show_progressbar = False

    def detect(job: Job, setting: Setting) -> np.ndarray:
        threshold, width, distance = setting
        smooth = gaussian_filter(job.image.astype(float), width * job.sigma_px)
        separation = max(1, round(distance * job.nearest_px))
        found = get_atom_positions(hs.signals.Signal2D(smooth), separation=separation, threshold_rel=threshold)
        return np.asarray(found, float).reshape(-1, 2)[:, ::-1]

    def refine(job: Job, found: np.ndarray, _window: float) -> np.ndarray:
        lattice = am.Sublattice(found[:, ::-1].tolist(), image=job.image.astype(float))
        lattice.find_nearest_neighbors()
        lattice.refine_atom_positions_using_center_of_mass(percent_to_nn=0.4, show_progressbar=False)
        lattice.refine_atom_positions_using_2d_gaussian(percent_to_nn=0.4, show_progressbar=False)
        moved = np.asarray(lattice.atom_positions)[:, ::-1]
        # Where the question is how far columns are spread, one that was taken back would stand too well.
        return moved if seeded else kept(job, found, moved)

    if seeded:
        return Method(lambda job, _setting: np.round(job.true_px), refine, [()])
    grid = list(itertools.product((0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4), (0.7, 1.0), (0.5, 0.75)))
    return Method(detect, refine, grid)


# --- scikit-image Laplacian of Gaussian, then a Gaussian fit by SciPy -------------------------------------------------


def scikit_image_method() -> Method:
    from skimage.feature import blob_log

    def detect(job: Job, setting: Setting) -> np.ndarray:
        threshold, width = setting
        image = job.image.astype(float)
        scaled = (image - image.min()) / max(float(np.ptp(image)), 1e-9)
        sigma = width * job.sigma_px
        blobs = blob_log(
            scaled, min_sigma=sigma, max_sigma=sigma, num_sigma=1, threshold=None, threshold_rel=threshold, overlap=0.9
        )
        return np.asarray(blobs, float).reshape(-1, 3)[:, :2]

    grid = list(itertools.product((0.03, 0.06, 0.1, 0.15, 0.2, 0.3, 0.4), (0.7, 1.0)))
    return Method(detect, gaussian_fits, grid, windows=(1.3, 1.8, 2.4))


def gaussian_fits(job: Job, found: np.ndarray, window: float) -> np.ndarray:
    """Least-squares elliptical Gaussian with constant background, one column at a time, exact derivatives."""

    def model(yx: np.ndarray, *p: float) -> np.ndarray:
        u, v = yx[0] - p[0], yx[1] - p[1]
        return p[2] * np.exp(-0.5 * (p[3] * u * u + p[4] * v * v + 2 * p[5] * u * v)) + p[6]

    def jacobian(yx: np.ndarray, *p: float) -> np.ndarray:
        u, v = yx[0] - p[0], yx[1] - p[1]
        unit = np.exp(-0.5 * (p[3] * u * u + p[4] * v * v + 2 * p[5] * u * v))
        core = p[2] * unit
        parts = (core * (p[3] * u + p[5] * v), core * (p[4] * v + p[5] * u), unit)
        return np.stack([*parts, -0.5 * core * u * u, -0.5 * core * v * v, -core * u * v, np.ones_like(u)], axis=1)

    radius = max(window * job.sigma_px, 1.6)
    reach = int(np.ceil(radius))
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    moved, start = np.full(found.shape, np.nan), 1.0 / job.sigma_px**2
    for k, (cy, cx) in enumerate(found):
        yy, xx = dy + round(cy), dx + round(cx)
        inside = (yy >= 0) & (xx >= 0) & (yy < job.image.shape[0]) & (xx < job.image.shape[1])
        inside &= (yy - cy) ** 2 + (xx - cx) ** 2 <= radius**2 + 1
        values = job.image[yy[inside], xx[inside]].astype(float)
        first = (cy, cx, np.ptp(values), start, start, 0.0, values.min())
        try:
            best, _ = curve_fit(model, (yy[inside], xx[inside]), values, p0=first, jac=jacobian, maxfev=60)
        except (RuntimeError, TypeError, OptimizeWarning):
            continue
        moved[k] = best[:2]
    return kept(job, found, moved)


# --- trackpy ----------------------------------------------------------------------------------------------------------


def trackpy_method() -> Method:
    import trackpy

    trackpy.quiet()

    def detect(job: Job, setting: Setting) -> np.ndarray:
        share, diameter, noise = setting
        odd = 2 * max(1, round(0.5 * (diameter * job.sigma_px - 1))) + 1
        noise_px = max(0.3, noise * job.sigma_px)

        def locate(minmass: float) -> tuple[np.ndarray, np.ndarray]:
            table = trackpy.locate(
                job.image.astype(float),
                odd,
                minmass=minmass,
                separation=0.7 * job.nearest_px,
                noise_size=noise_px,
                percentile=5,
                engine="numba",
            )
            return table[["y", "x"]].to_numpy(float), table["mass"].to_numpy(float)

        found, mass = locate(0.0)
        # The threshold is in units of a bright column's mass, so that a grid serves every dose.
        return found[mass >= share * np.quantile(mass, 0.9)] if len(mass) else found

    def refine(_job: Job, found: np.ndarray, _window: float) -> np.ndarray:
        return found  # trackpy refines by the centre of mass as it locates

    return Method(detect, refine, list(itertools.product((0.1, 0.2, 0.3, 0.45, 0.6), (3.0, 4.0, 5.0), (0.5, 1.0))))


# --- photutils --------------------------------------------------------------------------------------------------------


def photutils_method() -> Method:
    from astropy.table import QTable
    from photutils.detection import DAOStarFinder
    from photutils.psf import CircularGaussianPRF, PSFPhotometry

    def detect(job: Job, setting: Setting) -> np.ndarray:
        threshold, width = setting
        image = job.image.astype(float)
        finder = DAOStarFinder(
            threshold * float(np.ptp(gaussian_filter(image, job.sigma_px))),
            2.355 * width * job.sigma_px,
            sharpness_range=(-10.0, 10.0),
            roundness_range=(-10.0, 10.0),
            min_separation=0.6 * job.nearest_px,
        )
        table = finder(image - np.percentile(image, 5.0))
        if table is None:
            return np.zeros((0, 2))
        return np.stack([np.asarray(table["y_centroid"]), np.asarray(table["x_centroid"])], axis=1)

    def refine(job: Job, found: np.ndarray, window: float) -> np.ndarray:
        side = 2 * max(1, round(window * job.sigma_px)) + 1
        psf = CircularGaussianPRF(fwhm=2.355 * job.sigma_px)
        image = job.image.astype(float)
        photometry = PSFPhotometry(psf, (side, side), aperture_radius=max(1.0, 1.5 * job.sigma_px))
        table = photometry(
            image - np.percentile(image, 5.0), init_params=QTable({"x_init": found[:, 1], "y_init": found[:, 0]})
        )
        moved = np.stack([np.asarray(table["y_fit"]), np.asarray(table["x_fit"])], axis=1)
        return kept(job, found, moved)

    grid = list(itertools.product((0.02, 0.05, 0.1, 0.15, 0.2, 0.3), (0.7, 1.0)))
    return Method(detect, refine, grid, windows=(1.0, 1.5))


# --- AtomAI -----------------------------------------------------------------------------------------------------------


def normal(image: np.ndarray) -> np.ndarray:
    """Image between its 0.5 and 99.5 percentiles as 0 to 1, float32."""
    low, high = np.percentile(image, [0.5, 99.5])
    return np.clip((image - low) / max(high - low, 1e-9), -0.2, 1.2).astype(np.float32)


def atomai_method(weights: Path) -> Method:
    import atomai as aoi
    from atomai.utils import peak_refinement

    network = aoi.models.Segmentor(nb_classes=1, seed=0)
    network.load_weights(str(weights))

    def view(job: Job) -> tuple[np.ndarray, np.ndarray]:
        image = zoom(job.image.astype(np.float32), job.pixel_nm / ATOMAI_PIXEL_NM, mode="nearest", grid_mode=True)
        return normal(image), np.asarray(job.image.shape) / np.asarray(image.shape)

    def detect(job: Job, setting: Setting) -> np.ndarray:
        image, scale = view(job)
        found = network.predict(image[None], thresh=setting[0], num_batches=1, verbose=False)[1][0]
        return (np.asarray(found, float).reshape(-1, 3)[:, :2] + 0.5) * scale - 0.5

    def refine(job: Job, found: np.ndarray, window: float) -> np.ndarray:
        image, scale = view(job)
        start = np.column_stack([(found + 0.5) / scale - 0.5, np.zeros(len(found))])
        half = max(2, round(window * job.sigma_nm / ATOMAI_PIXEL_NM))
        # Columns whose square leaves the image are dropped by it; they keep the network's place.
        moved = (np.asarray(peak_refinement(image, start, half), float)[:, :2] + 0.5) * scale - 0.5
        if not len(moved):
            return found
        distance, nearest = cKDTree(moved).query(found)
        return np.where((distance < 0.5 * job.nearest_px)[:, None], moved[nearest], found)

    return Method(detect, refine, [(0.2,), (0.35,), (0.5,), (0.65,), (0.8,)], windows=(1.3, 1.8))


def train_atomai(data: Path, weights: Path) -> None:
    """AtomAI's Segmentor as it comes, trained on images and disc masks; its package ships no weights."""
    import atomai as aoi

    with np.load(data) as stored:
        images, masks, cycles = stored["images"], stored["masks"], int(stored["cycles"])
    held = max(2, len(images) // 10)
    network = aoi.models.Segmentor(nb_classes=1, seed=0)
    started = time.perf_counter()
    network.fit(
        images[held:, None],
        masks[held:, None],
        images[:held, None],
        masks[:held, None],
        training_cycles=cycles,
        batch_size=8,
        seed=0,
        print_loss=max(1, cycles // 5),
        filename=str(weights.with_suffix("")) + "_run",
        plot_training_history=False,
    )
    import torch

    torch.save(network.net.state_dict(), weights)
    print(f"AtomAI trained: {cycles} steps of 8 images, {time.perf_counter() - started:.0f} s")


# --- atomseg ----------------------------------------------------------------------------------------------------------


def atomseg_method(model_name: str | None) -> Method:
    from atomseg.infer import infer
    from atomseg.localize import LocalizeConfig, localize
    from atomseg.networks import load_model
    from atomseg.types import Calibration, CalibrationOrigin, Micrograph

    model = load_model(model_name)

    def detect(job: Job, _setting: Setting) -> np.ndarray:
        pixel = (float(job.pixel_nm[0]), float(job.pixel_nm[1]))
        micrograph = Micrograph(
            image=job.image.astype(np.float32),
            calibration=Calibration(pixel, CalibrationOrigin.METADATA),
            name="benchmark",
        )
        return localize(micrograph, infer(micrograph, model), LocalizeConfig()).yx_px

    def refine(_job: Job, found: np.ndarray, _window: float) -> np.ndarray:
        return found

    return Method(detect, refine, [()])


def method_of(name: str, extra: str | None) -> Method:
    """The method of that name."""
    if name == "atomseg":
        return atomseg_method(extra or None)
    if name == "Atomap from seeds":
        return atomap_method(seeded=True)
    if name == "AtomAI":
        return atomai_method(Path(str(extra)))
    plain = {
        "Atomap": atomap_method,
        "scikit-image + SciPy": scikit_image_method,
        "trackpy": trackpy_method,
        "photutils": photutils_method,
    }
    return plain[name]()


def run(method: Method, job: Job) -> tuple[np.ndarray, float, str]:
    """Positions, seconds that processors worked and the setting of one image."""
    setting, window = (
        choose(method, replace(job, **middle(job.image, job.true_px, job.required, job.pixel_nm, TUNED_PX)))
        if len(method.grid) > 1
        else (method.grid[0], method.windows[0])
    )
    started = time.process_time()
    found = method.detect(job, setting)
    if len(found):
        found = method.refine(job, found, window)
    return found, time.process_time() - started, f"{setting} window {window}"


def jobs(path: Path) -> list[Job]:
    """Images of a file written by `peers.py`."""
    with np.load(path) as stored:
        n = len(stored["pixel_nm"])
        return [
            Job(
                stored[f"image_{k}"],
                stored["pixel_nm"][k],
                float(stored["sigma_nm"][k]),
                float(stored["nearest_nm"][k]),
                stored[f"true_{k}"],
                stored[f"required_{k}"].astype(bool),
            )
            for k in range(n)
        ]


def peak_mb() -> float:
    """Largest resident set of this process so far, MB; the counter of Linux that a parent's memory does not enter."""
    status = Path("/proc/self/status")
    if status.exists():
        for line in status.read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024.0


def main() -> int:
    name, source, target, *extra = sys.argv[1:]
    warnings.simplefilter("ignore")
    if name == "train-atomai":
        train_atomai(Path(source), Path(target))
        return 0
    todo = jobs(Path(source))
    method = method_of(name, extra[0] if extra else None)
    if len(method.grid) > 1 or name == "atomseg":
        # Compilers and first calls are start-up: a corner of the first image runs before the clock.
        corner = tuple(slice(0, min(n, 160)) for n in todo[0].image.shape)
        run(method, replace(todo[0], image=todo[0].image[corner]))
    before = peak_mb()
    out: dict[str, np.ndarray] = {}
    seconds, settings = [], []
    for k, job in enumerate(todo):
        out[f"yx_{k}"], duration, setting = run(method, job)
        seconds.append(duration)
        settings.append(setting)
        print(f"{name} image {k}: {len(out[f'yx_{k}'])} columns, {duration:.2f} s, {setting}", flush=True)
    np.savez(target, **out, seconds=seconds, settings=settings, start_mb=before, peak_mb=peak_mb())
    return 0


if __name__ == "__main__":
    sys.exit(main())
