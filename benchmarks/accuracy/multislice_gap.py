"""The gap between the renderer's linear images and multislice images of the same scenes: a tracked number.

    python benchmarks/accuracy/multislice_gap.py [--size 256] [--seed 0] [--model NAME]

A perfect crystal without scan errors is rendered by `atomseg.simulate` with the constants that multislice_fit.py found
for it, and the multislice image of the periodic cell is laid on the very same columns. Both get the same counts on the
metal columns, the same background and Poisson noise, and are localized by the same model. Needs no abTEM: the cells are
in benchmarks/results/multislice_cells.npz. Writes benchmarks/results/multislice_gap.csv and .json.

Interlayer occupancy is drawn column by column by the renderer, the multislice cell is a mean over columns.
"""

import argparse
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from multislice_images import CellImage, load
from record import RESULTS, write_json

from atomseg.crystal import haadf_weight, load_crystal
from atomseg.evaluate.match import match_columns
from atomseg.evaluate.scores import detection, position_errors
from atomseg.infer import infer
from atomseg.localize import LocalizeConfig, localize
from atomseg.networks import Model, load_model
from atomseg.simulate import SceneConfig, simulate
from atomseg.types import Scene

CASES = ("O3_x0_200kV", "O3_x25_200kV", "rocksalt_200kV", "O3_x0_300kV")
THICKNESS_NM = (4.0, 12.0, 24.0)
COUNTS = (100.0, 1e3, 1e4)
KINDS = ("linear", "multislice")
BLUR_NM, TAIL_NM, PIXEL_NM, LEVEL = 0.040, 0.20, 0.020, 0.2
EXPONENT, ROTATION_DEG = 1.7, 17.0
NOISELESS = 1e8  # counts a column: the noise is 1e-4 of a peak


@dataclass(frozen=True)
class Pair:
    """One scene, rendered twice: (H, W) images relative to the metal peak, without noise."""

    truth: Scene
    linear: np.ndarray
    multislice: np.ndarray
    peak_counts: float


def plain(config: Any, certain: str = "") -> Any:
    """The same configuration with every event switched off that has a probability, but for one."""
    return replace(config, **{f.name: float(f.name == certain) for f in fields(config) if f.name.startswith("p_")})


def fixed(value: float) -> tuple[float, float]:
    return (value, value)


def configure(cell: CellImage, constants: dict[str, float], size: int, thickness_nm: float) -> SceneConfig:
    """A perfect crystal with the fitted constants."""
    case, base = cell.case, SceneConfig()
    metal = haadf_weight(load_crystal("NMC811").sites[0].occupants, EXPONENT)
    oxygen = haadf_weight({"O": 1.0}, EXPONENT) / metal
    zero = fixed(0.0)
    core_pm, tail_nm = 1e3 * np.hypot(constants["core_nm"], BLUR_NM), float(np.hypot(TAIL_NM, BLUR_NM))
    lattice = replace(
        base.lattice,
        a_nm=fixed(case.a_nm),
        c_nm=fixed(3 * case.layer_nm),
        rotation_deg=fixed(ROTATION_DEG),
        senses=(1,),
        strain_rms=zero,
        displacement_pm=zero,
        antisite=fixed(case.x),
        exponent=fixed(EXPONENT),
        mixing_exponent=fixed(constants.get("mixing_exponent", 1.0)),
    )
    optics = replace(
        plain(base.optics),
        core_sigma_pm=fixed(core_pm),
        ellipticity=fixed(1.0),
        tail_sigma_nm=fixed(tail_nm),
        tail_per_nm=fixed(constants["tail_per_nm"]),
        saturation_nm=fixed(constants["saturation_nm"]),
        oxygen_scale=fixed(min(constants["oxygen"] / oxygen, 2.0)),
    )
    scan = replace(
        plain(base.scan), pixel_size_nm=fixed(PIXEL_NM), anisotropy=zero, shear=zero, bend_nm=zero, jitter_pm=zero
    )
    detector = replace(
        plain(base.detector),
        excess_noise=fixed(1.0),
        read_noise=zero,
        offset=zero,
        gain=fixed(1.0),
        formats=("float32",),
    )
    return replace(
        plain(base, "p_cathode"),
        shape=(size, size),
        lattice=lattice,
        surface=plain(base.surface, "p_none"),
        layer=plain(base.layer),
        faults=plain(base.faults),
        domains=plain(base.domains),
        defects=plain(base.defects),
        foil=replace(base.foil, thickness_nm=fixed(thickness_nm), wedge=zero, variation=zero),
        optics=optics,
        background=replace(plain(base.background), level=fixed(LEVEL), slope=zero),
        scan=scan,
        detector=detector,
    )


def with_counts(config: SceneConfig, counts: float, level: float) -> SceneConfig:
    return replace(
        config,
        detector=replace(config.detector, counts=fixed(counts)),
        background=replace(config.background, level=fixed(level)),
    )


def multislice_on(scene: Scene, cell: CellImage, thickness_nm: float) -> np.ndarray:
    """(H, W) multislice image with the metal columns of a scene, at a thickness between two calculated ones.

    Raises
    ------
    RuntimeError
        If the scene's metal columns do not lie on the cell's lattice within a picometre.
    """
    case, table = cell.case, scene.columns.table
    metal = table.loc[table["species"].astype(str) == "TM", ["y_nm", "x_nm"]].to_numpy(float)
    angle = np.deg2rad(ROTATION_DEG)
    axes = np.array([[np.sin(angle), np.cos(angle)], [np.cos(angle), -np.sin(angle)]])
    origin = metal[np.argmin(np.abs(metal - metal.mean(axis=0)).sum(axis=1))]

    def coordinates(yx_nm: np.ndarray, sign: float) -> tuple[np.ndarray, np.ndarray]:
        along, across = np.moveaxis((yx_nm - origin) @ axes.T, -1, 0)
        return along, sign * across

    def off(sign: float) -> float:
        along, across = coordinates(metal, sign)
        row = across / case.layer_nm
        column = along / case.column_nm - case.shift * row
        return float(np.abs([row - np.round(row), column - np.round(column)]).max())

    sign = min((1.0, -1.0), key=off)
    if off(sign) * case.layer_nm > 1e-3:
        raise RuntimeError(f"{case.name}: metal columns are {off(sign) * case.layer_nm:.4f} nm off the cell's lattice")
    rows, columns = scene.micrograph.image.shape
    yx = np.stack(np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij"), axis=-1) * PIXEL_NM
    part = int(np.clip(np.searchsorted(cell.thickness_nm, thickness_nm), 1, len(cell.thickness_nm) - 1))
    before, after = cell.thickness_nm[part - 1], cell.thickness_nm[part]
    t = np.clip((thickness_nm - before) / (after - before), 0.0, 1.0)
    mixed = (1 - t) * cell.image[part - 1] + t * cell.image[part]
    at_thickness = CellImage(case, mixed[None], np.array([thickness_nm]))
    along, across = coordinates(yx, sign)
    return np.concatenate([at_thickness.at(a, c, BLUR_NM) for a, c in zip(along, across, strict=True)])


def image_at(image: np.ndarray, yx_px: np.ndarray) -> np.ndarray:
    """(N,) image at points by cubic splines."""
    from scipy.ndimage import map_coordinates

    return np.asarray(map_coordinates(image, yx_px.T, order=3, mode="nearest"))


def make_pair(cell: CellImage, config: SceneConfig, counts: float, thickness_nm: float, seed: int) -> Pair:
    """Both images of one scene; the multislice one is scaled to the linear one on the metal columns."""
    bright = simulate(with_counts(config, NOISELESS, 1e-6), np.random.default_rng(seed), truth="columns")
    truth = simulate(with_counts(config, counts, LEVEL), np.random.default_rng(seed), truth="columns")
    if not np.array_equal(bright.columns.yx_px, truth.columns.yx_px):
        raise RuntimeError("the dose changed the scene: its columns moved")
    peak_counts = float(truth.parameters["peak_counts"])  # type: ignore[arg-type]
    linear = bright.micrograph.image / float(bright.parameters["peak_counts"])  # type: ignore[arg-type]
    multislice = multislice_on(truth, cell, thickness_nm)
    table = truth.columns.table
    metal = truth.columns.yx_px[(table["species"].astype(str) == "TM").to_numpy()]
    inner = metal[np.all((metal > 10) & (metal < linear.shape[0] - 11), axis=1)]
    multislice = multislice * image_at(linear, inner).mean() / image_at(multislice, inner).mean()
    return Pair(truth, linear, multislice, peak_counts)


def shown(image: np.ndarray, scene: Scene) -> dict[str, float]:
    """Interlayer site and image minimum over the metal columns, without background."""
    table, yx = scene.columns.table, scene.columns.yx_px
    inner = np.all((yx > 10) & (yx < image.shape[0] - 11), axis=1)
    species = table["species"].astype(str)
    metal, interlayer = (species == "TM").to_numpy(), species.isin(["Li", "mixed"]).to_numpy()
    peak = image_at(image, yx[inner & metal]).mean()
    return {
        "interlayer_over_metal": float(image_at(image, yx[inner & interlayer]).mean() / peak),
        "minimum_over_metal": float(np.quantile(image[10:-10, 10:-10], 0.002) / peak),
    }


def score(image: np.ndarray, pair: Pair, model: Model, seed: int) -> dict[str, float | None]:
    """Columns found in one noisy image against the truth."""
    noisy = np.random.default_rng(seed).poisson(np.maximum(image + LEVEL, 0.0) * pair.peak_counts)
    micrograph = replace(pair.truth.micrograph, image=noisy.astype(np.float32))
    found = localize(micrograph, infer(micrograph, model), LocalizeConfig())
    truth = pair.truth.columns
    pairs = match_columns(found, truth, 0.05)
    precision = position_errors(found, truth, pairs)
    required = truth.table["required"].to_numpy(bool)[pairs[:, 1]]
    bound = truth.table[["sigma_y_pm", "sigma_x_pm"]].to_numpy()[pairs[required, 1]]
    bound_pm = float(np.sqrt((bound**2).sum(axis=1).mean()))
    rmse = precision.rmse_pm
    return {
        "f1_50pm": detection(found, truth, 0.05).f1,
        "rmse_pm": rmse,
        "rmse_over_bound": None if rmse is None else rmse / bound_pm,
        "coverage90": precision.coverage90,
    }


def compare(size: int, seed: int, model: Model) -> Iterator[dict[str, Any]]:
    """One row for each crystal, thickness, dose and way of making the image."""
    fit = json.loads((RESULTS / "multislice_fit.json").read_text(encoding="utf-8"))["constants"]
    for name, cell in load().items():
        if name not in CASES:
            continue
        constants = next(c for c in fit if c["case"] == name and c["tail_nm"] == TAIL_NM)
        for thickness_nm in THICKNESS_NM:
            config = configure(cell, constants, size, thickness_nm)
            for counts in COUNTS:
                pair = make_pair(cell, config, counts, thickness_nm, seed)
                for kind in KINDS:
                    image = getattr(pair, kind)
                    row = {"case": name, "thickness_nm": thickness_nm, "counts": counts, "image": kind}
                    yield {**row, **score(image, pair, model, seed + 1), **shown(image, pair.truth)}


def gaps(table: pd.DataFrame) -> pd.DataFrame:
    """Multislice less linear: one row a scene."""
    keys = ["case", "thickness_nm", "counts"]
    linear, multislice = (table[table["image"] == k].set_index(keys).drop(columns="image") for k in KINDS)
    return (multislice - linear).astype(float).reset_index()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=256)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", default=None)
    arguments = parser.parse_args()
    model = load_model(arguments.model, device="cpu")
    rows = []
    for row in compare(arguments.size, arguments.seed, model):
        rows.append(row)
        print(*(f"{k}={v:.4g}" if isinstance(v, float) else v for k, v in row.items()), flush=True)
    table = pd.DataFrame(rows)
    gap = gaps(table)
    tracked = {
        "largest_f1_loss": float(-gap["f1_50pm"].min()),
        "mean_f1_gap": float(gap["f1_50pm"].mean()),
        "largest_rmse_over_bound_gain": float(gap["rmse_over_bound"].max()),
        "mean_rmse_over_bound_gap": float(gap["rmse_over_bound"].mean()),
        "largest_interlayer_ratio_gap": float(gap["interlayer_over_metal"].abs().max()),
        "largest_minimum_ratio_gap": float(gap["minimum_over_metal"].abs().max()),
    }
    setting = {"pixel_nm": PIXEL_NM, "blur_nm": BLUR_NM, "tail_nm": TAIL_NM, "level_over_peak": LEVEL}
    table.round(4).to_csv(RESULTS / "multislice_gap.csv", index=False)
    gap_rows = gap.round(4).replace({np.nan: None}).to_dict("records")
    write_json("multislice_gap", {"model": model.card.id, "setting": setting, "tracked": tracked, "gaps": gap_rows})
    print(gap.round(4).to_string(index=False), json.dumps(tracked, indent=2), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
