"""Seconds, size and quickness of the page of a thousand micrographs.

    python benchmarks/speed/report.py [--results 1000] [--quick] [--keep FOLDER]

One sample is mapped; its result folder is copied under other names with other thicknesses, in groups of particles as a
folder tree makes them. Timed are the page as a batch writes it the first time and again after one more file, the table
alone (after every file), `atomseg report`, and, in a headless Chromium, loading, sorting and filtering. --quick makes a
hundred and writes nothing.
"""

import argparse
import contextlib
import io
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from browser import chromium, load
from record import REPOSITORY, write_json

SAMPLE = REPOSITORY / "samples" / "sc811_surface_thin.tif"
RESULTS, QUICK_RESULTS, SEED = 1000, 100, 7
SAMPLES, PARTICLES = ("SC-811", "QSC-811", "PC-811"), 12
SCALED = frozenset({"mean_nm", "p05_nm", "p95_nm", "lower_bound_nm"})
TYPED = "surface"  # what is typed into the filter, letter by letter


def map_sample(folder: Path) -> None:
    """One real result, with all its files."""
    from atomseg import map_micrograph

    if not folder.is_dir():
        map_micrograph(SAMPLE).save(folder)


def copy_results(one: Path, output: Path, count: int) -> list[str]:
    """Result folders like the one, with other names and thicknesses; what is the same is linked, not copied."""
    rng = np.random.default_rng(SEED)
    summary, points = json.loads((one / "summary.json").read_text()), pd.read_csv(one / "thickness.csv")
    folders = []
    for index in range(count):
        sample, particle = SAMPLES[index % len(SAMPLES)], index // len(SAMPLES) % PARTICLES
        name = f"{sample}/p{particle:02d}/surface_{index:04d}"
        folders.append(name)
        place, factor = output / name, float(rng.lognormal(0.3 * (index % len(SAMPLES)), 0.4))
        place.mkdir(parents=True, exist_ok=True)
        for path in one.iterdir():
            with contextlib.suppress(FileExistsError):
                if path.name not in {"summary.json", "thickness.csv"}:
                    os.link(path, place / path.name)
        scaled = points.assign(**{key: factor * points[key] for key in ("thickness_nm", "lower_nm", "upper_nm")})
        scaled.to_csv(place / "thickness.csv", index=False)
        told = {
            key: factor * value for key, value in summary["thickness"].items() if key in SCALED and value is not None
        }
        own = {
            **summary,
            "input": {**summary["input"], "path": f"/micrographs/{name}.tif", "sha256": f"{index:064x}"},
            "thickness": {**summary["thickness"], **told},
        }
        (place / "summary.json").write_text(json.dumps(own), encoding="utf-8")
    return folders


def seconds_of(call: Callable[[], object]) -> float:
    """How long a call takes, s."""
    began = time.perf_counter()
    call()
    return round(time.perf_counter() - began, 3)


def time_batch(output: Path, folders: list[str]) -> dict[str, float]:
    """The table and page of a batch that is nearly done: the first time, then after each further file."""
    from atomseg.batch import CohortTable, Outcome
    from atomseg.batch.work import read_result_summary

    def told(folder: str) -> Outcome:
        return Outcome(f"/micrographs/{folder}.tif", folder, "done", "", read_result_summary(output / folder))

    table = CohortTable(output)
    numbers = {"table_and_page_at_the_start": seconds_of(table.begin)}
    numbers["table_after_a_file"] = seconds_of(lambda: table.tell([told(folders[0])]))
    os.utime(output / folders[1] / "thickness.csv")
    numbers["table_and_page_again"] = seconds_of(table.end)
    return numbers


def time_report(output: Path) -> float:
    """`atomseg report` on the folder tree."""
    from atomseg.cli.report import build_report
    from atomseg.cohort import CohortConfig

    with contextlib.redirect_stdout(io.StringIO()):
        return seconds_of(lambda: build_report(output, None, None, CohortConfig()))


# Times an action until the browser has laid the page out and is about to draw it.
_TIMED = """
const done = arguments[arguments.length - 1], began = performance.now();
{action}
document.body.getBoundingClientRect();
requestAnimationFrame(() => done((performance.now() - began) / 1000));
"""


def time_browser(page: Path, profile: Path) -> dict[str, float]:
    """Loading, sorting by each of the usual headings and typing into the filter, s."""

    def timed(browser: Any, action: str) -> float:
        return float(browser.execute_async_script(_TIMED.replace("{action}", action)))

    with chromium(profile) as browser:
        numbers = {"load_and_draw": seconds_of(lambda: load(browser, page))}
        headings = "document.querySelectorAll('#micrographs th[data-sort]')"
        count = int(browser.execute_script(f"return {headings}.length"))
        numbers["sort_slowest_heading"] = max(timed(browser, f"{headings}[{k}].click();") for k in range(count))
        types = "const e = document.getElementById('search'); e.value = '{}'; e.dispatchEvent(new Event('input'));"
        letters = [types.replace("{}", TYPED[: k + 1]) for k in range(len(TYPED))]
        numbers["filter_slowest_letter"] = max(timed(browser, action) for action in letters)
        numbers["filter_to_a_few"] = timed(browser, types.replace("{}", "surface_0007"))
        return {key: round(value, 3) for key, value in numbers.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=int, default=RESULTS)
    parser.add_argument("--quick", action="store_true", help="a hundred results; nothing is written")
    parser.add_argument("--keep", type=Path, help="folder for the results, to look at the page afterwards")
    arguments = parser.parse_args()
    count = QUICK_RESULTS if arguments.quick else arguments.results
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.keep or Path(temporary)).absolute()
        output = folder / f"results_{count}"
        map_sample(folder / "one")
        folders = copy_results(folder / "one", output, count)
        for name in ("summary.csv", "report.html", "cohort.json"):
            (output / name).unlink(missing_ok=True)
        numbers: dict[str, Any] = {"results": count, "seconds": time_batch(output, folders)}
        page = output / "report.html"
        numbers["page_mb"] = round(page.stat().st_size / 1e6, 2)
        numbers["browser_seconds"] = time_browser(page, folder / "profile")
        numbers["seconds"]["atomseg_report"] = time_report(output)
        numbers["page_with_groups_mb"] = round(page.stat().st_size / 1e6, 2)
        numbers["browser_seconds_with_groups"] = time_browser(page, folder / "profile")
    print(json.dumps(numbers, indent=2))
    if not arguments.quick:
        print(write_json("report", numbers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
