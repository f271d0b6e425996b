"""A simulated cohort with known medians, mapped and compared with its truth.

    python benchmarks/accuracy/cohort.py [--quick] [--particles 6] [--images 2] [--seeds 0 1 2] [--work FOLDER]

Four groups after Zhang et al., Nano Lett. 2022: outer surfaces of SC-811 and QSC-811, cracks of QSC-811, outer surfaces
of PC-811. Every particle draws its own mean thickness about the median of its group, every micrograph its own view; the
cracks are rebuilt deeper than many views reach. The micrographs are mapped as a person would, by `atomseg map` with a
manifest; the tables of results and of the truth go through `cohort_statistics`, so that the errors of mapping and of
sampling can be told apart. Every seed is a cohort of its own.

Scenes and results in FOLDER stay, and the same command goes on from them after a break. Writes
benchmarks/results/cohort.csv and .json, and with --figure docs/images/cohort.png and report.png (needs Chromium);
--quick maps a few small ones and writes nothing. Three seeds are 144 micrographs.
"""

import argparse
import dataclasses
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from browser import chromium, load, save_screenshot
from record import REPOSITORY, RESULTS, commit, write_json

from atomseg.cohort import (
    CohortConfig,
    CohortStatistics,
    Manifest,
    assign_by_manifest,
    cohort_statistics,
    cohort_text,
    gather,
    parse_manifest,
)
from atomseg.config import load_simulation_config
from atomseg.io import MeasuredResult, find_results, read_measured, read_scene, write_scene
from atomseg.networks import load_model
from atomseg.report import cohort_figure_files
from atomseg.simulate import SceneConfig, simulate
from atomseg.types import Scene

# Spread of the mean thickness between particles, and between the images of one, of the logarithm: 15 and 5 %.
BETWEEN, IMAGES = 0.15, 0.05
DETECTION_NM = 0.5
FIGURE = REPOSITORY / "docs" / "images" / "cohort.png"
SCREENSHOT, SCREENSHOT_PX = REPOSITORY / "docs" / "images" / "report.png", 1500
KEYS = ["seed", "group", "surface_kind"]
MAP = "from atomseg.cli import main; main()"


@dataclass(frozen=True)
class Group:
    """One group of the cohort.

    Parameters
    ----------
    sample, kind : str
        Names.
    median_nm : float
        True median thickness.
    config : str
        Shipped settings of the simulator to start from.
    pixels : int
        Side of an image.
    view : tuple of float
        Where the surface lies, as in `SurfaceConfig.offset`; what is left is the view.
    """

    sample: str
    kind: str
    median_nm: float
    config: str
    pixels: int
    view: tuple[float, float]


PIXEL_NM = 0.03
GROUPS = (
    Group("SC-811", "outer", 3.5, "cathode_surface", 448, (-0.6, -0.2)),
    Group("QSC-811", "outer", 6.0, "cathode_surface", 512, (-0.6, -0.2)),
    Group("QSC-811", "crack", 21.0, "crack", 960, (-0.8, -0.3)),
    Group("PC-811", "outer", 11.0, "cathode_surface", 640, (-0.7, 0.0)),
)


def scene_config(group: Group, mean_nm: float) -> SceneConfig:
    """Settings of one micrograph of a particle of this mean thickness."""
    base = load_simulation_config(group.config)
    deep = group.kind == "crack"
    layer = dataclasses.replace(
        base.layer,
        p_layer=1.0,
        thickness_nm=(mean_nm, mean_nm),
        second_face=(1.0, 1.0),
        p_stepped=0.0,
        roughness_nm=(0.3, 0.3) if not deep else (1.0, 1.0),
        p_patchy=0.5 if deep else 0.0,
    )
    return dataclasses.replace(
        base,
        shape=(group.pixels, group.pixels),
        layer=layer,
        surface=dataclasses.replace(base.surface, offset=group.view, crack_offset=group.view),
        scan=dataclasses.replace(base.scan, pixel_size_nm=(PIXEL_NM, PIXEL_NM)),
    )


def scenes(group: Group, particles: int, images: int, seed: int) -> list[tuple[str, str, np.random.Generator, float]]:
    """(particle, image, generator, mean thickness in nm) of every micrograph; more of either change no other."""
    told = []
    number = GROUPS.index(group) + 1
    for k in range(particles):
        own = group.median_nm * np.exp(BETWEEN * np.random.default_rng([seed, number, k + 1, 0, 1]).normal())
        for j in range(images):
            # No seed may end in 0: numpy takes it for the one without.
            rng = np.random.default_rng([seed, number, k + 1, j + 1])
            told.append((f"p{k}", f"{group.kind}_{j}", rng, float(own * np.exp(IMAGES * rng.normal()))))
    return told


def true_result(scene: Scene, folder: str) -> MeasuredResult:
    """The truth of a scene as if it had been measured."""
    pixel = np.prod(scene.micrograph.calibration.pixel_size_nm)
    return MeasuredResult(
        folder=folder,
        path=folder,
        sha256=folder,
        judged=True,
        phase_fractions=scene.phases.fractions(),
        points=scene.reconstruction.points,
        fault_length_nm=float(scene.reconstruction.faults["length_nm"].sum()),
        crystal_nm2=float(scene.crystal.sum() * pixel),
        detection_nm=DETECTION_NM,
    )


def make_scenes(group: Group, seed: int, folder: Path, *, particles: int, images: int) -> list[str]:
    """Micrographs and scenes with their truth of one group, and its lines of the manifest; what is there stays."""
    lines = []
    for particle, image, rng, mean_nm in scenes(group, particles, images, seed):
        name = f"{group.sample}/{particle}/{image}"
        scene, micrograph = folder / "scenes" / name, folder / "micrographs" / f"{name}.tif"
        if not scene.is_dir():  # a scene is written whole or not at all
            write_scene(simulate(scene_config(group, mean_nm), rng, truth="full"), scene)
        if not micrograph.exists():
            micrograph.parent.mkdir(parents=True, exist_ok=True)
            os.link(scene / "image.tif", micrograph)
        lines.append(f"{name}.tif,{group.sample},{particle},{group.kind}")
    return lines


def map_scenes(folder: Path, results: Path, manifest: Path, words: Sequence[str]) -> None:
    """What a person would say: the batch, which goes on where it was interrupted, and its groups."""
    command = [sys.executable, "-c", MAP, "map", folder, "-o", results, "--manifest", manifest, *words]
    done = subprocess.run([str(word) for word in command], stdout=subprocess.DEVNULL, check=False)
    if done.returncode:
        raise SystemExit(f"atomseg map ended with exit code {done.returncode}; see {results / 'summary.csv'}")


def statistics_of(
    results: Sequence[MeasuredResult], manifest: Manifest, seed: int
) -> tuple[CohortStatistics, pd.Series]:
    """Statistics, and the plain mean of all points by group and kind, bounds taken as values."""
    observations = gather(results, assign_by_manifest(results, manifest))
    naive = observations.points.groupby(["group", "surface_kind"])["thickness_nm"].mean()
    return cohort_statistics(observations, CohortConfig(seed=seed)), naive


def drawn_nm(group: Group, seed: int, particles: int, images: int) -> float:
    """Median of the mean thicknesses that were drawn: what the luck of so few particles makes of the group's, nm."""
    return float(np.median([mean_nm for *_, mean_nm in scenes(group, particles, images, seed)]))


def row_of(group: Group, source: str, statistics: CohortStatistics, naive: pd.Series) -> dict[str, object]:
    """Estimate, interval and truth of one group."""
    found = next(g for g in statistics.groups if (g.group, g.surface_kind) == (group.sample, group.kind))
    entry = found.outcome("median")
    if entry is None:
        raise RuntimeError(f"{group.sample}, {group.kind}: no surface was found in any micrograph")
    low, high = entry.lower or 0.0, np.inf if entry.upper is None else entry.upper
    return {
        "group": group.sample,
        "surface_kind": group.kind,
        "tables": source,
        "true_median_nm": group.median_nm,
        "median_nm": entry.estimate,
        "lower_nm": entry.lower,
        "upper_nm": entry.upper,
        "covered": bool(low <= group.median_nm <= high),
        "plain_mean_nm": float(naive[group.sample, group.kind]),
        "particles": entry.counts.particles,
        "images": entry.counts.images,
        "points": entry.counts.points,
        "right_censored": entry.counts.right_censored,
    }


def run_cohort(
    groups: Sequence[Group], work: Path, *, particles: int, images: int, seed: int, words: Sequence[str]
) -> dict[str, tuple[CohortStatistics, pd.Series]]:
    """Statistics of one cohort, from what was mapped and from the truth."""
    results, path = work / "results", work / "samples.csv"
    lines = ["file,sample,particle,surface"]
    for group in groups:
        lines += make_scenes(group, seed, work, particles=particles, images=images)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    map_scenes(work / "micrographs", results, path, words)
    manifest = parse_manifest(path.read_text(encoding="utf-8"), path)
    mapped = [read_measured(place, results) for place in find_results(results)]
    truths = [true_result(read_scene(work / "scenes" / result.folder), result.path) for result in mapped]
    return {name: statistics_of(r, manifest, seed) for name, r in (("mapped", mapped), ("truth", truths))}


def summarise(table: pd.DataFrame) -> list[dict[str, object]]:
    """Over the seeds: intervals that hold the truth, and by how much medians are off.

    Few particles are thicker or thinner than their population by luck; what was drawn says by how much, and what the
    estimate is off that is the bias.

    A median that is not reached counts as the lower end of its interval, where the view ends: too low, if anything.
    """
    told = []
    table = table.assign(told_nm=table["median_nm"].fillna(table["lower_nm"]))
    mapped, truth = (table[table["tables"] == name].set_index(KEYS) for name in ("mapped", "truth"))
    for (group, kind), rows in mapped.groupby(level=["group", "surface_kind"]):
        same, true = truth.loc[rows.index], rows["true_median_nm"]
        drawn = rows["drawn_median_nm"]
        told.append(
            {
                "group": group,
                "surface_kind": kind,
                "true_median_nm": float(true.iloc[0]),
                "cohorts": len(rows),
                "intervals_with_truth": int(rows["covered"].sum()),
                "intervals_of_true_tables_with_truth": int(same["covered"].sum()),
                "not_reached": int(rows["median_nm"].isna().sum()),
                "mean_of_medians_nm": float(rows["told_nm"].mean()),
                "off_the_true_median_percent": percent(rows["told_nm"] / true),
                "drawn_particles_off_percent": percent(drawn / true),
                "off_the_drawn_median_percent": percent(rows["told_nm"] / drawn),
                "off_the_true_tables_percent": percent(rows["told_nm"] / same["told_nm"]),
                "plain_mean_off_percent": percent(rows["plain_mean_nm"] / drawn),
                "right_censored": float(rows["right_censored"].mean()),
                "images_judged": int(rows["images"].sum()),
            }
        )
    return told


def percent(ratio: pd.Series) -> float:
    """Mean of ratios as percent above or below 1."""
    return float(100 * (ratio - 1).mean())


def show(statistics: CohortStatistics, results: Path, temporary: Path) -> None:
    """The figure and a screenshot of the page, for the documentation."""
    FIGURE.write_bytes(cohort_figure_files(statistics)["cohort_figure.png"])
    with chromium(temporary / "profile", window=(1500, 1000)) as browser:
        load(browser, results / "report.html")
        save_screenshot(browser, SCREENSHOT, height=SCREENSHOT_PX, colors=128)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--particles", type=int, default=6)
    parser.add_argument("--images", type=int, default=2)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="one cohort each")
    parser.add_argument("--model", default=None, help="name or folder; the default model when left out")
    parser.add_argument("--workers", type=int, help="as for atomseg map")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "atomseg-cohort")
    parser.add_argument("--figure", action="store_true", help="write the pictures for the documentation, of one seed")
    parser.add_argument("--quick", action="store_true", help="two groups, three particles, one image; writes nothing")
    arguments = parser.parse_args()
    groups = GROUPS[:2] if arguments.quick else GROUPS
    particles, images = (3, 1) if arguments.quick else (arguments.particles, arguments.images)
    model = load_model(arguments.model)
    words = ["--model", str(model.folder)]
    words += [] if arguments.workers is None else ["--workers", str(arguments.workers)]
    rows = []
    for seed in arguments.seeds[:1] if arguments.quick else arguments.seeds:
        # What another version mapped is not taken for what this one would.
        work = arguments.work.absolute() / f"{commit()}-{particles}x{images}" / f"seed{seed}"
        work.mkdir(parents=True, exist_ok=True)
        told = run_cohort(groups, work, particles=particles, images=images, seed=seed, words=words)
        for group in groups:
            drawn = {"seed": seed, "drawn_median_nm": drawn_nm(group, seed, particles, images)}
            rows += [{**drawn, **row_of(group, name, *told[name])} for name in told]
        print(cohort_text(told["mapped"][0]), flush=True)
        if arguments.figure and seed == arguments.seeds[0]:
            show(told["mapped"][0], work / "results", work)
    table = pd.DataFrame(rows)
    summary = summarise(table)
    print(table.round(2).to_string(index=False), pd.DataFrame(summary).round(2).to_string(index=False), sep="\n")
    if not arguments.quick:
        RESULTS.mkdir(exist_ok=True)
        table.round(4).to_csv(RESULTS / "cohort.csv", index=False)
        records = table.round(4).astype(object).where(table.notna(), None).to_dict("records")
        numbers = {"model": model.card.id, "model_sha256": model.sha256, "over_seeds": rounded(summary)}
        write_json("cohort", {**numbers, "rows": records})
    return 0


def rounded(rows: list[dict[str, object]]) -> list[dict[str, object]]:
    """Floats with two decimals."""
    return [{key: round(v, 2) if isinstance(v, float) else v for key, v in row.items()} for row in rows]


if __name__ == "__main__":
    sys.exit(main())
