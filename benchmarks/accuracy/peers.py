"""atomseg beside other programs on the same images in one run.

    python benchmarks/accuracy/peers.py [CASES] [--peer-python PATH] [--model NAME|PATH] [--quick] [--only PEER ...]

Peers: Atomap (centre of mass, then 2D Gaussian), scikit-image's Laplacian of Gaussian with a SciPy Gaussian fit,
trackpy, photutils (DAOFIND and PSF photometry) and AtomAI (U-Net, then its Gaussian peak refinement). They are tuned:
each is given the pixel size, the column width and the closest distance of columns, and, image by image, the
threshold, filter width and window out of a grid with which it scores best, found with the truth (`peer_worker.py`).
atomseg runs as released, with no setting. AtomAI's package ships no weights (it downloads them), so its Segmentor is
trained here, briefly, on images from `atomseg.simulate` at its own pixel size: a network of AtomAI's make, not one
that its authors trained.

Images: multislice cases in CASES (folders with image.tif, truth_columns.csv, truth.json; left out with a message
where absent) and a few simulated ones, cathodes and others. RMSE is that of one coordinate over the columns matched
within 100 pm, and contains line jitter. `ours_rmse_same_pm` is atomseg's over the very columns that the peer matched
too.

The peers need an environment of their own:

    python3.11 -m venv ENV && echo SITE-PACKAGES-OF-THIS-VENV > ENV/lib/python3.11/site-packages/shared.pth
    ENV/bin/pip install atomap trackpy photutils atomai six
    python benchmarks/accuracy/peers.py CASES --peer-python ENV/bin/python

(the .pth file shares torch and NumPy and can be left out). A peer that can not be imported is left out with a
message. About 40 minutes on two cores, half of it Atomap's (--quick: corners of a few images, 4 minutes). Writes
benchmarks/results/peers.csv and .json.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from peer_worker import ATOMAI_PIXEL_NM, middle, normal
from record import REPOSITORY, RESULTS, write_json
from scenes import counting, same, tier
from scoring import LOOSE_NM, Image, compare

from atomseg.evaluate.match import match_points
from atomseg.io import read_micrograph
from atomseg.networks import load_model
from atomseg.simulate import OpticsConfig, OtherConfig, ScanConfig, SceneConfig, simulate

WORKER = Path(__file__).resolve().parent / "peer_worker.py"
PEERS = ("Atomap", "scikit-image + SciPy", "trackpy", "photutils", "AtomAI")
# (counts, pixel size pm, width pm) of simulated cathode edges.
TIERS = ((100.0, 20.0, 55.0), (300.0, 40.0, 55.0), (1e3, 20.0, 55.0), (1e4, 20.0, 55.0), (1e3, 10.0, 40.0))
# The image whose time is taken: counts, pixel size pm, width pm, side nm.
SPEED, SPEED_SIDE_NM = (1e3, 20.0, 55.0), 20.48
OTHERS = (("SrTiO3", (0, 0, 1), 300.0), ("Si", (1, 1, 0), 1e3), ("Au", (1, 1, 0), 1e3))


@dataclass(frozen=True)
class Case:
    """An image with its truth and what peers are told about it."""

    name: str
    kind: str
    image: np.ndarray
    pixel_nm: tuple[float, float]
    sigma_nm: float
    true_px: np.ndarray
    required: np.ndarray

    @property
    def nearest_nm(self) -> float:
        """Closest distance of required columns: the second percentile, so that one odd pair does not decide."""
        yx = self.true_px[self.required] * np.asarray(self.pixel_nm)
        return float(np.quantile(cKDTree(yx).query(yx, k=2)[0][:, 1], 0.02))

    def cut(self, side: int) -> "Case":
        """The middle of the image."""
        return replace(self, **middle(self.image, self.true_px, self.required, self.pixel_nm, side))


def multislice(folder: Path) -> list[Case]:
    """The multislice cases."""
    cases = []
    for path in sorted(folder.glob("*/truth.json")):
        told = json.loads(path.read_text(encoding="utf-8"))
        micrograph = read_micrograph(path.parent / "image.tif")
        table = pd.read_csv(path.parent / "truth_columns.csv", keep_default_na=False)
        image = micrograph.image
        true_px, required = table[["y_px", "x_px"]].to_numpy(float), table["required"].to_numpy(bool)
        pixel = micrograph.calibration.pixel_size_nm
        case = Case(path.parent.name, told["kind"], image, pixel, 0.05, true_px, required)
        cases.append(replace(case, sigma_nm=measured_sigma_nm(case)))
    return cases


def measured_sigma_nm(case: Case) -> float:
    """Column width as a user would measure it: from the fall of the mean of bright columns near their middle."""
    reach = int(np.ceil(0.09 / min(case.pixel_nm)))
    bright = case.true_px[case.required]
    centre = np.round(bright).astype(int)
    inside = np.all((centre >= reach) & (centre < np.asarray(case.image.shape) - reach), axis=1)
    centre, bright = centre[inside], bright[inside]
    value = case.image[centre[:, 0], centre[:, 1]]
    chosen = value >= np.quantile(value, 0.5)
    dy, dx = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    yy, xx = centre[chosen, 0, None, None] + dy, centre[chosen, 1, None, None] + dx
    r2 = ((yy - bright[chosen, 0, None, None]) * case.pixel_nm[0]) ** 2
    r2 = r2 + ((xx - bright[chosen, 1, None, None]) * case.pixel_nm[1]) ** 2
    patch = case.image[yy, xx].astype(float)
    # ln(I - floor) falls off as -r² / (2 sigma²) near the middle.
    near = r2 < 0.06**2
    floor = np.percentile(case.image, 5.0)
    bins = np.linspace(0.0, 0.06**2, 9)
    where = np.digitize(r2[near], bins) - 1
    mean = np.array([patch[near][where == k].mean() if (where == k).any() else np.nan for k in range(8)])
    middle = 0.5 * (bins[1:] + bins[:-1])
    good = np.isfinite(mean) & (mean > floor)
    slope = np.polyfit(middle[good], np.log(mean[good] - floor), 1)[0]
    return float(np.clip(np.sqrt(-0.5 / min(slope, -1.0)), 0.03, 0.12))


def simulated(seed: int) -> list[Case]:
    """A few simulated cathode edges and other crystals."""
    settings: list[tuple[str, str, SceneConfig, float]] = []
    for counts, pixel_pm, sigma_pm in TIERS:
        name = f"cathode {counts:g} counts, {pixel_pm:g} pm pixels"
        settings.append((name, "cathode", tier(counts, pixel_pm, sigma_pm, field_nm=11.0, covered=True), sigma_pm))
    for crystal, zone, counts in OTHERS:
        config = SceneConfig(
            shape=(512, 512),
            p_cathode=0.0,
            p_other=1.0,
            p_nothing=0.0,
            other=OtherConfig(p_named=1.0, crystals=(crystal,), zones=(zone,)),
            optics=OpticsConfig(core_sigma_pm=same(45.0), ellipticity=(1.0, 1.1)),
            scan=ScanConfig(
                pixel_size_nm=same(0.016), anisotropy=same(0.0), jitter_pm=same(4.0), p_wobble=0.0, p_flyback=0.0
            ),
            detector=counting(counts),
        )
        settings.append((f"{crystal} [{''.join(map(str, zone))}] {counts:g} counts", "other", config, 45.0))
    counts, pixel_pm, sigma_pm = SPEED
    large = tier(counts, pixel_pm, sigma_pm, field_nm=SPEED_SIDE_NM, covered=True)
    settings.append(("speed", "speed", large, sigma_pm))
    cases = []
    for number, (name, kind, config, sigma_pm) in enumerate(settings):
        scene = simulate(config, np.random.default_rng([seed, 77, number]))
        required = scene.columns.table["required"].to_numpy(bool)
        pixel = scene.micrograph.calibration.pixel_size_nm
        cases.append(Case(name, kind, scene.micrograph.image, pixel, 1e-3 * sigma_pm, scene.columns.yx_px, required))
    return cases


def write_job(cases: list[Case], path: Path) -> None:
    """Images for `peer_worker.py`."""
    arrays: dict[str, np.ndarray] = {}
    for k, case in enumerate(cases):
        arrays |= {f"image_{k}": case.image, f"true_{k}": case.true_px, f"required_{k}": case.required}
    np.savez(
        path,
        **arrays,
        pixel_nm=np.array([c.pixel_nm for c in cases]),
        sigma_nm=np.array([c.sigma_nm for c in cases]),
        nearest_nm=np.array([c.nearest_nm for c in cases]),
    )


def training_set(path: Path, *, images: int, cycles: int, seed: int) -> None:
    """Images of 25 pm pixels, normalized as `peer_worker.py` does it, with discs of 60 pm as AtomAI's masks."""
    rng = np.random.default_rng([seed, 88])
    config = SceneConfig(shape=(192, 192), scan=ScanConfig(pixel_size_nm=same(ATOMAI_PIXEL_NM), anisotropy=same(0.0)))
    stack, masks = [], []
    y, x = np.mgrid[:192, :192]
    grid = np.stack([y.ravel(), x.ravel()], axis=1)
    for _ in range(images):
        scene = simulate(config, rng, truth="columns")
        yx = scene.columns.yx_px[scene.columns.table["required"].to_numpy(bool)]
        near = cKDTree(yx).query(grid)[0] * ATOMAI_PIXEL_NM < 0.06 if len(yx) else np.zeros(len(grid), bool)
        stack.append(normal(scene.micrograph.image))
        masks.append(near.reshape(192, 192).astype(np.float32))
    np.savez(path, images=np.array(stack), masks=np.array(masks), cycles=cycles)


def call(python: str, *words: str | Path) -> bool:
    """Run the worker; False with a message when it failed."""
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run(
        [python, str(WORKER), *map(str, words)], env=environment, capture_output=True, text=True, check=False
    )
    print(done.stdout[-3000:], end="", flush=True)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        print(f"{words[0]} left out: {last[0]}", flush=True)
    return done.returncode == 0


def score(method: str, case: Case, yx_px: np.ndarray, ours_px: np.ndarray) -> dict[str, object]:
    """One row of the table."""
    pixel = np.asarray(case.pixel_nm)
    true = case.true_px * pixel
    size = (case.image.shape[0] * case.pixel_nm[0], case.image.shape[1] * case.pixel_nm[1])
    row = compare(Image(yx_px * pixel, true, case.required, case.pixel_nm, size_nm=size)).row()
    kept = ("n_required", "f1_50pm", "precision_50pm", "recall_50pm", "rmse_pm", "bias_y_pm", "bias_x_pm")
    mine, theirs = (match_points(p * pixel, true, LOOSE_NM, case.required) for p in (ours_px, yx_px))
    both, at_mine, at_theirs = np.intersect1d(mine[:, 1], theirs[:, 1], return_indices=True)
    wanted = case.required[both]
    numbers: dict[str, object] = {"method": method, "case": case.name, "kind": case.kind, **{k: row[k] for k in kept}}
    for name, positions, at in (
        ("same_pm", yx_px, theirs[at_theirs, 0]),
        ("ours_rmse_same_pm", ours_px, mine[at_mine, 0]),
    ):
        error = (positions[at] * pixel - true[both])[wanted]
        numbers[name if name != "same_pm" else "rmse_same_pm"] = (
            float(1e3 * np.sqrt((error**2).mean())) if len(error) else None
        )
    numbers["slope_subpixel"] = row["slope_subpixel"]
    # Where no column is displaced there is nothing to regress on.
    told = row["slope_lattice_error"] is not None and row["slope_lattice_error"] < 0.1
    return numbers | {"slope_lattice": row["slope_lattice"] if told else None}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="?", type=Path, help="folder of multislice cases")
    parser.add_argument("--peer-python", default=sys.executable, help="python of the peers' environment")
    parser.add_argument("--model", default=None, help="name or folder; the default model when left out")
    parser.add_argument("--only", nargs="*", default=list(PEERS), choices=PEERS, metavar="PEER")
    parser.add_argument("--atomai-steps", type=int, default=600, help="training steps of AtomAI")
    parser.add_argument("--atomai-images", type=int, default=600)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--side", type=int, help="only the middle of every image, so many pixels")
    parser.add_argument("--quick", action="store_true", help="corners of a few images; nothing is written")
    arguments = parser.parse_args()
    cases = simulated(arguments.seed)
    if arguments.cases is not None and any(arguments.cases.glob("*/truth.json")):
        cases = multislice(arguments.cases) + cases
    else:
        print("no multislice cases given or none found there: simulated images only")
    if arguments.side is not None:
        cases = [case if case.kind == "speed" else case.cut(arguments.side) for case in cases]
    if arguments.quick:
        cases = [case.cut(192) for case in cases[:: 3 if len(cases) > 8 else 1]]
        arguments.atomai_steps, arguments.atomai_images = 40, 80
    found, speed = run_all(cases, arguments)
    rows = []
    for method, positions in found.items():
        for k, case in enumerate(cases):
            seconds = float(speed[method]["seconds"][k])
            row = score(method, case, positions[k], found["atomseg"][k])
            row["seconds_per_1000"] = 1e3 * seconds / max(len(positions[k]), 1)
            row["setting"] = str(speed[method]["settings"][k])
            rows.append(row)
    table = pd.DataFrame(rows)
    summary = summarize(table, speed)
    print(table.drop(columns=["setting"]).round(3).to_string(index=False))
    print(summary.round(3).to_string())
    if not arguments.quick:
        RESULTS.mkdir(exist_ok=True)
        table.round(4).to_csv(RESULTS / "peers.csv", index=False)
        model = load_model(arguments.model)
        plain = summary.round(4).astype(object).where(summary.notna(), None)
        numbers = {"model": model.card.id, "model_sha256": model.sha256, "versions": versions(arguments.peer_python)}
        records = table.round(4).astype(object).where(table.notna(), None).to_dict("records")
        write_json("peers", {**numbers, "summary": plain.reset_index().to_dict("records"), "rows": records})
    return 0


def run_all(cases: list[Case], arguments: argparse.Namespace) -> tuple[dict, dict]:
    """Positions by method and image, and times and memory by method."""
    found: dict[str, list[np.ndarray]] = {}
    speed: dict[str, dict[str, np.ndarray]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        job, out, weights = (Path(scratch) / name for name in ("job.npz", "out.npz", "atomai.pt"))
        write_job(cases, job)
        for method in ("atomseg", *arguments.only):
            python, extra = arguments.peer_python, []
            if method == "atomseg":
                python, extra = sys.executable, [arguments.model or ""]
            if method == "AtomAI":
                data = Path(scratch) / "training.npz"
                training_set(data, images=arguments.atomai_images, cycles=arguments.atomai_steps, seed=arguments.seed)
                if not call(python, "train-atomai", data, weights):
                    continue
                extra = [str(weights)]
            if not call(python, method, job, out, *extra):
                if method == "atomseg":
                    raise SystemExit("atomseg itself failed")
                continue
            with np.load(out) as stored:
                found[method] = [stored[f"yx_{k}"] for k in range(len(cases))]
                speed[method] = {name: stored[name] for name in ("seconds", "settings", "start_mb", "peak_mb")}
    return found, speed


def versions(python: str) -> dict[str, str]:
    """Versions of the peers."""
    code = (
        "import importlib.metadata as m, json; w = {};\n"
        "for n in ('atomap', 'hyperspy', 'scikit-image', 'scipy', 'trackpy', 'photutils', 'atomai', 'numba'):\n"
        "    try: w[n] = m.version(n)\n"
        "    except m.PackageNotFoundError: pass\n"
        "print(json.dumps(w))"
    )
    answer = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return dict(json.loads(answer.stdout))


def summarize(table: pd.DataFrame, speed: dict[str, dict[str, np.ndarray]]) -> pd.DataFrame:
    """One row a method and kind of image."""
    timed = table[table["kind"] == "speed"].set_index("method")["seconds_per_1000"]
    groups = table[table["kind"] != "speed"].groupby(["method", "kind"], sort=False)
    summary = groups[["f1_50pm", "rmse_pm", "rmse_same_pm", "ours_rmse_same_pm"]].mean()
    summary["f1_least"] = groups["f1_50pm"].min()
    summary["bias_most_pm"] = groups[["bias_y_pm", "bias_x_pm"]].agg(lambda v: v.abs().max()).max(axis=1)
    names = summary.index.get_level_values("method")
    summary["seconds_per_1000"] = timed.reindex(names).to_numpy()
    summary["peak_mb"] = [float(speed[m]["peak_mb"]) for m in names]
    summary["start_mb"] = [float(speed[m]["start_mb"]) for m in names]
    return summary


if __name__ == "__main__":
    sys.exit(main())
