"""Precision on real micrographs: the spread of equivalent lattice vectors, and that it is not small by shrinkage.

    python benchmarks/accuracy/real_precision.py FOLDER [--peer-python PATH] [--model NAME|PATH] [--quick]

The test is AtomSegNet's (10.1038/s41598-021-84499-w and its README: 7.14 / 6.78 pm by its network, 7.57 / 8.25 pm by
a 2D Gaussian fit, on Si dumbbells): in a perfect crystal every lattice vector is the same, so their spread is the
error of two columns, scan distortion and noise together. The same columns are placed by atomseg and by Atomap (centre
of mass, 2D Gaussian), which starts from atomseg's columns rounded to whole pixels. Micrographs of FOLDER, left out
where absent: Si110 and DyScO3 of AtomSegNet (field of view by their names), SrTiO3 (openNCEM), BaTiO3 [001].

- `spread_pm`: standard deviation of a vector's component, over the two shortest lattice vectors and both coordinates;
  `spread_y_pm`, `spread_x_pm` across and along the scan lines.
- `length_1_pm`, `length_2_pm`: of the lengths of the two vectors.
- `local_pm`: of p(+T) - 2 p + p(-T) over sqrt(6): error of one coordinate without slow distortion.
- `split_pm`: half of the standard deviation of the difference between the positions in odd and in even scan rows, two
  images of independent noise: error of one coordinate, whatever the crystal really looks like, unless the method is
  held where it started, as it starts from the same place in both (Atomap; atomseg finds its columns in each anew).
  `split_median_pm` is the same from the median absolute difference, without tails.
- `start_share`: starts are moved by one pixel, and so much of that is left in the positions (median). What a method
  is held by does not scatter, so that its spread and its split are smaller than its errors. Asked of atomseg's fit.
- `shift_slope`: the image is shifted by known fractions of a pixel (Fourier interpolation) and everything is done
  again; found on true shift. Below one: locking to pixels or to where columns were first seen.
- `wave_slope`: the image is bent by a sine wave of 10 pm amplitude and 1.5 nm wavelength (quintic spline); found on
  true displacement of each column. Below one: columns are pulled towards a lattice, and a small spread is not
  precision; or their shapes, which are bent too, by up to 4 %, are not believed to differ.
- `moved_slope`: the same wave, but columns keep their shape, as a probe's is: their Gaussians (atomseg's) are taken out
  of the image and put back where they have moved, and noise and all that is no Gaussian stays in its place.

About 10 minutes on two cores, most of it Atomap's (--quick: 3 minutes).
Writes benchmarks/results/real_precision.csv and .json.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter, map_coordinates, maximum_filter
from scipy.spatial import cKDTree

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from peers import WORKER, call
from record import RESULTS, write_json
from scoring import regression

from atomseg.imaging.photometry import render_columns
from atomseg.infer import infer
from atomseg.io import read_micrograph
from atomseg.localize import LocalizeConfig, fit_columns, localize
from atomseg.networks import Model, load_model
from atomseg.types import Calibration, CalibrationOrigin, Columns, Micrograph

# File, what it is, width of the field (nm) where the file does not say.
FILES = (
    ("Si110_5nmX25us_03_none_none.png", "Si [110]", 5.0),
    ("10_dso_8nm_none_none.png", "DyScO3", 8.0),
    ("16_STOimage_1.ser", "SrTiO3 [001]", None),
    ("BTO_crystal_1.dm4", "BaTiO3 [001]", None),
)
BORDER_NM = 0.3
SAME_NM = 0.06
WAVE_NM, WAVE_LENGTH_NM = 0.010, 1.5
# Rows of a split image may not be further apart than this, or columns fall between them.
LARGEST_SPLIT_NM = 0.035
LARGEST_VECTOR_NM = 1.2

Place = Callable[[Micrograph, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Sample:
    """A micrograph with its columns by atomseg: what all methods are asked to place."""

    name: str
    micrograph: Micrograph
    columns: Columns

    @property
    def yx_px(self) -> np.ndarray:
        """(N, 2) positions."""
        return self.columns.yx_px

    @property
    def amplitude(self) -> np.ndarray:
        """(N,) heights."""
        return self.columns.table["amplitude"].to_numpy()

    @property
    def pixel_nm(self) -> np.ndarray:
        """(y, x) pixel size."""
        return np.asarray(self.micrograph.calibration.pixel_size_nm)

    def inner(self, yx_px: np.ndarray) -> np.ndarray:
        """(N,) bool, well inside the image."""
        margin = BORDER_NM / self.pixel_nm
        return np.asarray(np.all((yx_px > margin) & (yx_px < np.asarray(self.micrograph.shape) - 1 - margin), axis=1))


def nearest_to(found_px: np.ndarray, wanted_px: np.ndarray, pixel_nm: np.ndarray) -> np.ndarray:
    """(N, 2) found positions nearest to the wanted ones; nan where none is near or it belongs to another."""
    result = np.full(wanted_px.shape, np.nan)
    if not len(found_px):
        return result
    distance, index = cKDTree(found_px * pixel_nm).query(wanted_px * pixel_nm)
    _, back = cKDTree(wanted_px * pixel_nm).query(found_px * pixel_nm)
    good = (distance < SAME_NM) & (back[index] == np.arange(len(wanted_px)))
    result[good] = found_px[index[good]]
    return result


def ours(model: Model) -> Place:
    """The whole path on every image anew; where columns are expected is used only to tell which is which."""

    def place(micrograph: Micrograph, expected_px: np.ndarray) -> np.ndarray:
        found = localize(micrograph, infer(micrograph, model), LocalizeConfig(), device=str(model.device))
        return nearest_to(found.yx_px, expected_px, np.asarray(micrograph.calibration.pixel_size_nm))

    return place


def our_fit(micrograph: Micrograph, expected_px: np.ndarray) -> np.ndarray:
    """The fit of atomseg from given starts."""
    pixel = micrograph.calibration.pixel_size_nm
    found = fit_columns(micrograph.image, expected_px, pixel, LocalizeConfig())
    return nearest_to(found.yx_px, expected_px, np.asarray(pixel))


def atomap(python: str) -> Place:
    """Atomap from whole pixels."""

    def place(micrograph: Micrograph, expected_px: np.ndarray) -> np.ndarray:
        pixel = np.asarray(micrograph.calibration.pixel_size_nm)
        with tempfile.TemporaryDirectory() as scratch:
            job, out = Path(scratch) / "job.npz", Path(scratch) / "out.npz"
            kept = np.all((expected_px > 2) & (expected_px < np.asarray(micrograph.shape) - 3), axis=1)
            np.savez(
                job,
                image_0=micrograph.image,
                true_0=expected_px[kept],
                required_0=np.ones(int(kept.sum()), bool),
                pixel_nm=[pixel],
                sigma_nm=[0.05],
                nearest_nm=[0.13],
            )
            if not call(python, "Atomap from seeds", job, out):
                raise SystemExit(f"Atomap did not run in {python}; see peers.py for its environment")
            with np.load(out) as stored:
                found = stored["yx_0"]
        result = np.full(expected_px.shape, np.nan)
        result[kept] = found
        result[~(np.linalg.norm((result - expected_px) * pixel, axis=1) <= SAME_NM)] = np.nan
        return result

    return place


def lattice_vectors(sample: Sample) -> list[np.ndarray]:
    """The two shortest translations (y, x), nm, that take columns to columns of the same brightness all over the image.

    Translations of pseudo-cells (perovskites with tilts) are told by their larger spread; scan distortion makes the
    spread of one axis up to twice that of the other.
    """
    yx = sample.yx_px * sample.pixel_nm
    pairs = cKDTree(yx).query_pairs(LARGEST_VECTOR_NM, output_type="ndarray")
    step = yx[pairs[:, 1]] - yx[pairs[:, 0]]
    turn = np.where(np.abs(step[:, 0]) < 0.04, step[:, 1] < 0, step[:, 0] < 0)
    step[turn] *= -1
    brightness = np.abs(np.log(np.maximum(sample.amplitude, 1e-9)))
    ratio = np.abs(brightness[pairs[:, 1]] - brightness[pairs[:, 0]])
    bins = 0.015
    where = np.round((step + LARGEST_VECTOR_NM) / bins).astype(int)
    size = int(2 * LARGEST_VECTOR_NM / bins) + 2
    density = np.zeros((size, size))
    np.add.at(density, (where[:, 0], where[:, 1]), 1.0)
    density = gaussian_filter(density, 1.0)
    top = np.argwhere((density == maximum_filter(density, 3)) & (density > 0.05 * density.max()))
    order = np.argsort(-density[tuple(top.T)], kind="stable")
    peaks = top[order] * bins - LARGEST_VECTOR_NM
    extent = np.asarray(sample.micrograph.shape) * sample.pixel_nm
    candidates: list[tuple[float, float, np.ndarray]] = []
    for centre in peaks:
        if any(np.linalg.norm(centre - c[2]) < 0.08 for c in candidates):
            continue
        near = np.linalg.norm(step - centre, axis=1) < 0.05
        if not near.any():
            continue
        mean = np.median(step[near], axis=0)
        near = np.linalg.norm(step - mean, axis=1) < 0.05
        expected = len(yx) * float(np.prod(1.0 - np.abs(mean) / extent))
        spread = float(1.4826 * np.median(np.abs(step[near] - np.median(step[near], axis=0))))
        if near.sum() > 0.8 * expected and np.median(ratio[near]) < 0.3:
            candidates.append((float(np.linalg.norm(mean)), spread, mean))
    if len(candidates) < 2:
        return []
    least = min(c[1] for c in candidates)
    good = sorted((c for c in candidates if c[1] < 2.5 * least), key=lambda c: c[0])
    first = good[0][2]
    for _, _, other in good[1:]:
        if abs(first[0] * other[1] - first[1] * other[0]) > 0.3 * np.linalg.norm(first) * np.linalg.norm(other):
            return [first, other]
    return []


def spreads(
    yx_nm: np.ndarray, vectors: list[np.ndarray], steps: list[tuple[np.ndarray, np.ndarray]]
) -> dict[str, float]:
    """Spread of the vectors between columns that all methods placed; `steps` are index pairs for each vector."""
    components, lengths, local = [], [], []
    for vector, (start, stop) in zip(vectors, steps, strict=True):
        step = yx_nm[stop] - yx_nm[start]
        components.append(step.std(0))
        lengths.append(float((step @ vector / np.linalg.norm(vector)).std()))
        after = dict(zip(start.tolist(), stop.tolist(), strict=True))
        chain = [(i, after[i], after[after[i]]) for i in after if after[i] in after]
        if chain:
            a, b, c = np.array(chain).T
            local.append((yx_nm[c] - 2 * yx_nm[b] + yx_nm[a]).std(0) / np.sqrt(6.0))
    return {
        "n_vectors": sum(len(s[0]) for s in steps),
        "spread_pm": 1e3 * float(np.sqrt(np.mean(np.square(components)))),
        "spread_y_pm": 1e3 * float(np.sqrt(np.mean(np.square(components), axis=0)[0])),
        "spread_x_pm": 1e3 * float(np.sqrt(np.mean(np.square(components), axis=0)[1])),
        "length_1_pm": 1e3 * lengths[0],
        "length_2_pm": 1e3 * lengths[1],
        "local_pm": 1e3 * float(np.sqrt(np.mean(np.square(local)))) if local else float("nan"),
    }


def index_pairs(yx_nm: np.ndarray, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Columns and the ones a lattice vector further, by index."""
    known = np.flatnonzero(np.isfinite(yx_nm).all(1))
    distance, index = cKDTree(yx_nm[known]).query(yx_nm[known] + vector)
    good = distance < SAME_NM
    return known[good], known[index[good]]


def shifted(image: np.ndarray, shift_px: np.ndarray) -> np.ndarray:
    """Image moved by a fraction of a pixel by Fourier interpolation; mirrored beyond its border first."""
    pad = [min(32, n - 1) for n in image.shape]
    wide = np.pad(image.astype(np.float64), [(p, p) for p in pad], mode="reflect")
    ky, kx = np.fft.fftfreq(wide.shape[0])[:, None], np.fft.rfftfreq(wide.shape[1])[None]
    phase = np.exp(-2j * np.pi * (ky * shift_px[0] + kx * shift_px[1]))
    moved = np.fft.irfft2(np.fft.rfft2(wide) * phase, s=wide.shape)
    return moved[pad[0] : pad[0] + image.shape[0], pad[1] : pad[1] + image.shape[1]].astype(np.float32)


def wave_nm(yx_nm: np.ndarray) -> np.ndarray:
    """(..., 2) displacement by the wave at positions, nm: oblique, so that every neighbour moves otherwise."""
    angle = np.deg2rad((25.0, 115.0))
    phase = [2 * np.pi * (yx_nm[..., 0] * np.sin(a) + yx_nm[..., 1] * np.cos(a)) / WAVE_LENGTH_NM for a in angle]
    return WAVE_NM * np.stack([np.sin(phase[0]), np.sin(phase[1] + 1.0)], axis=-1)


def bent(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Image bent by the wave, and the displacement (pixels) of each column in it."""
    image, pixel = sample.micrograph.image, sample.pixel_nm
    grid = np.stack(np.meshgrid(*(np.arange(n) for n in image.shape), indexing="ij"), axis=-1).astype(float)
    source = grid - wave_nm(grid * pixel) / pixel
    moved = map_coordinates(image.astype(float), np.moveaxis(source, -1, 0), order=5, mode="mirror")
    return moved.astype(np.float32), displacement_px(sample)


def displacement_px(sample: Sample) -> np.ndarray:
    """(N, 2) displacement of each column by the wave: what was at p is seen where r - u(r) = p."""
    there = sample.yx_px
    for _ in range(4):
        there = sample.yx_px + wave_nm(there * sample.pixel_nm) / sample.pixel_nm
    return there - sample.yx_px


def with_moved_columns(sample: Sample) -> tuple[np.ndarray, np.ndarray]:
    """Image whose columns are displaced by the wave as they are, and the displacement (pixels) of each."""
    micrograph, displacement = sample.micrograph, displacement_px(sample)
    there = sample.yx_px + displacement
    after = Columns(sample.columns.table.assign(y_px=there[:, 0], x_px=there[:, 1]))
    size = micrograph.image.shape, micrograph.calibration.pixel_size_nm
    change = render_columns(after, *size) - render_columns(sample.columns, *size)
    return (micrograph.image + change).astype(np.float32), displacement


def slopes(sample: Sample, place: Place, first_px: np.ndarray, *, shifts: int, seed: int) -> dict[str, float]:
    """Found on injected displacements."""
    rng, good = np.random.default_rng(seed), sample.inner(sample.yx_px)
    told, answered = [], []
    for _ in range(shifts):
        shift = rng.uniform(-0.5, 0.5, 2)
        image = shifted(sample.micrograph.image, shift)
        moved = place(replace(sample.micrograph, image=image), sample.yx_px + shift) - first_px
        kept = good & np.isfinite(moved).all(1)
        told.append(np.broadcast_to(shift, (int(kept.sum()), 2)))
        answered.append(moved[kept])
    shift_slope = regression(np.concatenate(told).ravel(), np.concatenate(answered).ravel())
    result = {"shift_slope": shift_slope[0], "shift_slope_error": shift_slope[1]}
    for name, (image, displacement) in (("wave", bent(sample)), ("moved", with_moved_columns(sample))):
        moved = place(replace(sample.micrograph, image=image), sample.yx_px + displacement) - first_px
        kept = good & np.isfinite(moved).all(1)
        told = regression((displacement * sample.pixel_nm)[kept].ravel(), (moved * sample.pixel_nm)[kept].ravel())
        result |= {f"{name}_slope": told[0], f"{name}_slope_error": told[1]}
    return result


def split_errors(sample: Sample, place: Place) -> dict[str, float | None]:
    """Error of one coordinate from odd and even rows, with and without tails."""
    pixel = sample.pixel_nm * np.array([2.0, 1.0])
    if pixel[0] > LARGEST_SPLIT_NM:
        return {"split_pm": None, "split_median_pm": None}
    halves = []
    for start in (0, 1):
        calibration = Calibration((float(pixel[0]), float(pixel[1])), CalibrationOrigin.USER)
        image = np.ascontiguousarray(sample.micrograph.image[start::2])
        half = Micrograph(image=image, calibration=calibration, name=sample.name)
        expected = (sample.yx_px - np.array([start, 0])) / np.array([2.0, 1.0])
        halves.append(place(half, expected) * np.array([2.0, 1.0]) + np.array([start, 0]))
    difference = ((halves[0] - halves[1]) * sample.pixel_nm)[sample.inner(sample.yx_px)]
    difference = difference[np.isfinite(difference).all(1)]
    rest = difference - np.median(difference, axis=0)
    return {
        "split_pm": float(500.0 * np.sqrt(difference.var(0).mean())),
        "split_median_pm": float(500.0 * 1.4826 * np.sqrt((np.median(np.abs(rest), axis=0) ** 2).mean())),
    }


def start_share(sample: Sample, place: Place) -> dict[str, float]:
    """How much of a start one pixel off is left in the positions; of both directions the mean."""
    start = np.round(sample.yx_px)
    first = place(sample.micrograph, start)
    left = [
        np.nanmedian((place(sample.micrograph, start + step) - first)[sample.inner(sample.yx_px)] @ step)
        for step in np.eye(2)
    ]
    return {"start_share": float(np.mean(left))}


def load(path: Path, name: str, field_nm: float | None, model: Model, side: int | None) -> Sample:
    """Micrograph and its columns."""
    micrograph = read_micrograph(path, pixel_size_nm=None) if field_nm is None else _by_field(path, field_nm)
    if side is not None:
        micrograph = Micrograph(
            image=np.ascontiguousarray(micrograph.image[:side, :side]), calibration=micrograph.calibration, name=name
        )
    found = localize(micrograph, infer(micrograph, model), LocalizeConfig(), device=str(model.device))
    return Sample(name, micrograph, found)


def _by_field(path: Path, field_nm: float) -> Micrograph:
    from skimage.io import imread

    width = imread(path).shape[1]
    return read_micrograph(path, pixel_size_nm=field_nm / width)


def rows_of(sample: Sample, methods: dict[str, Place], *, shifts: int, seed: int) -> list[dict[str, object]]:
    """One row a method for one micrograph."""
    vectors = lattice_vectors(sample)
    if not vectors:
        print(f"{sample.name}: no lattice vectors found, left out")
        return []
    firsts = {name: place(sample.micrograph, sample.yx_px) for name, place in methods.items()}
    everywhere = sample.inner(sample.yx_px) & np.all([np.isfinite(f).all(1) for f in firsts.values()], axis=0)
    reference = np.where(everywhere[:, None], sample.yx_px * sample.pixel_nm, np.nan)
    steps = [index_pairs(reference, vector) for vector in vectors]
    rows = []
    for name, place in methods.items():
        numbers = spreads(firsts[name] * sample.pixel_nm, vectors, steps)
        row: dict[str, object] = {"micrograph": sample.name, "method": name, "columns": int(everywhere.sum())}
        row["vector_1_nm"], row["vector_2_nm"] = (float(np.linalg.norm(v)) for v in vectors)
        row |= numbers | split_errors(sample, place) | start_share(sample, our_fit if name == "atomseg" else place)
        rows.append(row | slopes(sample, place, firsts[name], shifts=shifts, seed=seed))
        print({k: round(v, 3) if isinstance(v, float) else v for k, v in rows[-1].items()}, flush=True)
    return rows


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="folder of the micrographs")
    parser.add_argument("--peer-python", default=sys.executable, help="python of the peers' environment, see peers.py")
    parser.add_argument("--model", default=None, help="name or folder; the default model when left out")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shifts", type=int, default=3, help="shifts by a fraction of a pixel")
    parser.add_argument("--quick", action="store_true", help="corners of the images, one shift; nothing is written")
    arguments = parser.parse_args()
    model = load_model(arguments.model)
    methods: dict[str, Place] = {"atomseg": ours(model)}
    known = subprocess.run([arguments.peer_python, "-c", "import atomap"], capture_output=True, check=False)
    if known.returncode == 0 and WORKER.is_file():
        methods["Atomap"] = atomap(arguments.peer_python)
    else:
        print("Atomap can not be imported by --peer-python: atomseg alone")
    rows: list[dict[str, object]] = []
    for file, name, field_nm in FILES:
        if not (arguments.folder / file).is_file():
            print(f"{file} is not there, left out")
            continue
        sample = load(arguments.folder / file, name, field_nm, model, 400 if arguments.quick else None)
        rows += rows_of(sample, methods, shifts=1 if arguments.quick else arguments.shifts, seed=arguments.seed)
    if not rows:
        parser.error(f"none of {', '.join(f[0] for f in FILES)} in {arguments.folder}")
    table = pd.DataFrame(rows)
    print(table.round(3).T.to_string())
    if not arguments.quick:
        RESULTS.mkdir(exist_ok=True)
        table.round(4).to_csv(RESULTS / "real_precision.csv", index=False)
        records = table.round(4).astype(object).where(table.notna(), None).to_dict("records")
        write_json("real_precision", {"model": model.card.id, "model_sha256": model.sha256, "rows": records})
    return 0


if __name__ == "__main__":
    sys.exit(main())
