"""What must not be judged is not judged, and what must be is: refusals over simulated images of many kinds.

    python benchmarks/accuracy/refusals.py [--model NAME|PATH] [--quick] [--images 40] [--seed 0] [--only KIND ...]

Every image goes through `map_micrograph` with its defaults. Seed, pixel size, dose, rotation and column width vary. An
image is refused when the pipeline turns it away, or when phases (R-3m, rocksalt, O1) cover less than 1 % of it. The
kind `close_packed` is the converse: layered oxides down their close-packed zone at 300 counts a column or more, where a
refusal is an error.

Finished kinds are kept in benchmarks/results/refusals.csv and not made again unless --fresh is given. About 1 s an
image on one core. Writes benchmarks/results/refusals.csv and .json.
"""

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from scipy.ndimage import gaussian_filter

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from record import RESULTS, write_json
from scenes import counting

from atomseg.errors import InputError
from atomseg.networks import Model, load_model
from atomseg.pipeline import map_micrograph
from atomseg.simulate import BackgroundConfig, LatticeConfig, OpticsConfig, OtherConfig, ScanConfig, SceneConfig
from atomseg.simulate import simulate as draw
from atomseg.types import Calibration, CalibrationOrigin, Micrograph

SIDE_PX = 320
JUDGED_SHARE = 0.01
GROUPS = {
    "perovskite": ("SrTiO3", "BaTiO3", "PbTiO3", "LaAlO3", "KTaO3"),
    "fcc": ("Au", "Al", "Cu", "Pt"),
    "diamond": ("Si", "Ge", "GaP", "ZnS", "GaAs", "InP", "InAs", "CdTe"),
    "hexagonal": ("Ti", "Mg", "GaN", "ZnO", "MoS2", "MoS2_layer", "WS2_layer", "WSe2_layer", "graphene"),
}
ZONES = {"perp_112": (1, -1, 0), "c_axis": (0, 0, 1), "out_of_zone": (-4, -2, 1)}


def config(rng: np.random.Generator, **kinds: float) -> SceneConfig:
    """Imaging that varies as it does between sessions."""
    weights = {"p_cathode": 0.0, "p_other": 0.0, "p_nothing": 0.0} | kinds
    return SceneConfig(
        shape=(SIDE_PX, SIDE_PX),
        **weights,
        scan=ScanConfig(pixel_size_nm=(0.015, 0.03), anisotropy=(0.0, 0.02), jitter_pm=(0.0, 8.0)),
        optics=OpticsConfig(core_sigma_pm=(40.0, 60.0), p_wide=0.0),
        detector=counting(float(np.exp(rng.uniform(np.log(300.0), np.log(2e4))))),
    )


def scene(settings: SceneConfig, rng: np.random.Generator) -> Micrograph:
    """The image of a scene."""
    return draw(settings, rng, truth="columns").micrograph


def of_zone(rng: np.random.Generator, zone: tuple[int, int, int]) -> Micrograph:
    """The layered oxide along another zone."""
    other = OtherConfig(p_layered=1.0, layered_zones=(zone,))
    return scene(replace(config(rng, p_other=1.0), other=other, lattice=LatticeConfig(antisite=(0.0, 0.08))), rng)


def of_crystals(rng: np.random.Generator, crystals: tuple[str, ...]) -> Micrograph:
    """One of some crystals along one of its usual zones."""
    other = OtherConfig(p_layered=0.0, p_named=1.0, crystals=crystals)
    return scene(replace(config(rng, p_other=1.0), other=other), rng)


def random_lattice(rng: np.random.Generator) -> Micrograph:
    """A planar lattice of random vectors and columns."""
    return scene(replace(config(rng, p_other=1.0), other=OtherConfig(p_layered=0.0, p_named=0.0)), rng)


def empty(rng: np.random.Generator, film: float) -> Micrograph:
    """Vacuum, or an amorphous film."""
    background = BackgroundConfig(p_nothing_speckle=film, film=(0.1, 0.6))
    return scene(replace(config(rng, p_nothing=1.0), background=background), rng)


def dark(rng: np.random.Generator) -> Micrograph:
    """Contrast of ABF: a cathode with dark columns."""
    bright = scene(config(rng, p_cathode=1.0), rng)
    return replace(bright, image=bright.image.max() - bright.image)


def noise(rng: np.random.Generator, filtered: bool) -> Micrograph:
    """White noise, or noise that a filter has given the size of columns."""
    image = rng.poisson(rng.uniform(5.0, 200.0), (SIDE_PX, SIDE_PX)).astype(np.float32)
    if filtered:
        image = gaussian_filter(image, float(rng.uniform(0.8, 6.0)))
    size = float(rng.uniform(0.015, 0.03))
    return Micrograph(image, Calibration((size, size), CalibrationOrigin.USER))


def close_packed(rng: np.random.Generator) -> Micrograph:
    """What is to be judged."""
    return scene(config(rng, p_cathode=1.0), rng)


KINDS: dict[str, Callable[[np.random.Generator], Micrograph]] = {
    **{name: (lambda rng, zone=zone: of_zone(rng, zone)) for name, zone in ZONES.items()},
    **{name: (lambda rng, those=those: of_crystals(rng, those)) for name, those in GROUPS.items()},
    "random_lattice": random_lattice,
    "amorphous": lambda rng: empty(rng, 1.0),
    "vacuum": lambda rng: empty(rng, 0.0),
    "abf": dark,
    "noise": lambda rng: noise(rng, filtered=False),
    "filtered_noise": lambda rng: noise(rng, filtered=True),
    "close_packed": close_packed,
}


def judged(micrograph: Micrograph, model: Model) -> tuple[float, str]:
    """Share of the image's pixels that have a phase, and why there are none."""
    try:
        found = map_micrograph(micrograph, model=model)
    except InputError as exc:
        return 0.0, str(exc)
    stops = [check.name for check in found.checks if check.verdict == "stop"]
    return float(np.isin(found.phases.labels, (1, 2, 3)).mean()), ",".join(stops)


def measure_kind(kind: str, images: int, seed: int, model: Model) -> list[dict[str, object]]:
    """One row an image."""
    rows: list[dict[str, object]] = []
    for k in range(images):
        rng = np.random.default_rng([seed, list(KINDS).index(kind), k])
        share, why = judged(KINDS[kind](rng), model)
        rows.append({"kind": kind, "seed": seed, "image": k, "share": round(share, 4), "why": why})
    return rows


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model")
    parser.add_argument("--images", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*", choices=list(KINDS))
    parser.add_argument("--quick", action="store_true", help="6 images a kind, nothing written")
    parser.add_argument("--fresh", action="store_true", help="make finished kinds again")
    args = parser.parse_args()
    images = 6 if args.quick else args.images
    path = RESULTS / "refusals.csv"
    kept = pd.read_csv(path) if path.exists() and not args.fresh and not args.quick else pd.DataFrame()
    model = load_model(args.model, device="cpu")
    started = time.perf_counter()
    summary = {}
    for kind in args.only or KINDS:
        done = kept[(kept["kind"] == kind) & (kept["seed"] == args.seed)] if len(kept) else kept
        if len(done) < images:
            done = pd.DataFrame(measure_kind(kind, images, args.seed, model))
            if not args.quick:
                kept = pd.concat([kept[kept["kind"] != kind] if len(kept) else kept, done])
                kept.to_csv(path, index=False)
        refused = float((done["share"] < JUDGED_SHARE).mean())
        summary[kind] = {"n": len(done), "refused": round(refused, 4), "worst_share": float(done["share"].max())}
        print(f"{kind:16s} {len(done):4d} images, {refused:6.1%} refused", flush=True)
    if not args.quick:
        write_json("refusals", {"kinds": summary, "seconds": round(time.perf_counter() - started)})


if __name__ == "__main__":
    main()
