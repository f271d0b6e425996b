"""Files an hour of `atomseg map` with 1 and 2 workers, its efficiency, and the memory that a worker takes.

    python benchmarks/speed/batch.py [--quick] [--workers 1 2] [--keep FOLDER]

The same simulated micrographs are mapped with every number of workers, in processes of their own, as a person would
say it. A worker has one thread whatever their number is, so that only the number of workers changes. Files an hour are
counted from the first to the last finished file (steady: what a night's batch sees), seconds for the whole command,
start-up included. Memory is the largest that any worker was seen to take. With --keep the micrographs stay, and a
number of workers that was measured before is not measured again.

Efficiency is files an hour with N workers over N times those with one. N workers on fewer than N cores that nobody else
uses can not come near 1, and cores share caches and memory: read it beside `cores` and `load_average_at_start`. On a
machine that others use, the processor seconds a file say whether workers get into each other's way.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from record import REPOSITORY, write_json

SIDE_PX, QUICK_SIDE_PX = 1024, 256
FILES, QUICK_FILES = 24, 8
PIXEL_NM, SEED = 0.020, 20
MAP = "from atomseg.cli import main; main()"


def make_micrographs(folder: Path, count: int, side_px: int) -> None:
    """Particle edges with a reconstruction layer, each another one; those that are there stay."""
    import dataclasses

    import numpy as np
    import tifffile

    from atomseg.config import load_simulation_config
    from atomseg.simulate import simulate

    config = load_simulation_config(REPOSITORY / "configs" / "simulate" / "cathode_surface.yaml")
    scan = dataclasses.replace(config.scan, pixel_size_nm=(PIXEL_NM, PIXEL_NM))
    config = dataclasses.replace(config, shape=(side_px, side_px), scan=scan)
    folder.mkdir(parents=True, exist_ok=True)
    for index in range(count):
        path = folder / f"{index:03d}.tif"
        if not path.exists():
            scene = simulate(config, np.random.default_rng((SEED, index)), truth="columns")
            image, resolution = scene.micrograph.image.astype(np.float32), (1 / PIXEL_NM, 1 / PIXEL_NM)
            tifffile.imwrite(path, image, imagej=True, resolution=resolution, metadata={"unit": "nm"})


def measure(images: Path, output: Path, workers: int) -> dict[str, Any]:
    """One batch: seconds, when each result came, and the memory of the workers as it went on."""
    command = [sys.executable, "-c", MAP, "map", str(images), "-o", str(output), "--workers", str(workers)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "DASK_DISTRIBUTED__WORKER__PRELOAD": str(one_thread(output))}
    began = time.perf_counter()
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    came: dict[str, float] = {}
    spent: dict[int, float] = {}
    warm = peak = command_peak = 0.0
    while process.poll() is None:
        now = time.perf_counter() - began
        for path in output.glob("[!.]*/summary.json"):
            came.setdefault(path.parent.name, now)
        with suppress(psutil.Error):  # it ended between two looks
            command_peak = max(command_peak, psutil.Process(process.pid).memory_info().rss)
            for child in worker_processes(process.pid):
                peak = max(peak, child.memory_info().rss)
                spent[child.pid] = sum(child.cpu_times()[:2])
        if len(came) <= workers:
            warm = sum(spent.values())  # what starting and the first files took
        time.sleep(0.1)
    seconds = time.perf_counter() - began
    if process.returncode:
        raise SystemExit(f"atomseg map ended with exit code {process.returncode}")
    times = sorted(came.values())
    # Of the first files, one a worker, only the end is known: they are what the others are counted from.
    steady = len(times) - workers
    return {
        "workers": workers,
        "files": len(times),
        "seconds": round(seconds, 1),
        "seconds_to_the_first_result": round(times[0], 1),
        "files_per_hour": round(3600 * steady / (times[-1] - times[workers - 1]), 1),
        "worker_processor_seconds_a_file": round((sum(spent.values()) - warm) / steady, 2),
        "worker_peak_memory_gb": round(peak / 1e9, 3),
        "command_peak_memory_gb": round(command_peak / 1e9, 3),
    }


def worker_processes(pid: int) -> "list[psutil.Process]":
    """Processes of the workers of a command."""
    children = psutil.Process(pid).children(recursive=True)
    return [child for child in children if "spawn_main" in " ".join(child.cmdline())]


def one_thread(output: Path) -> Path:
    """A file for Dask to load in each worker, which keeps torch to one thread there."""
    path = output.with_name("one_thread.py")
    path.write_text("import torch\n\ntorch.set_num_threads(1)\ntorch.set_num_threads = lambda _count: None\n")
    return path


def summarise(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The runs with their efficiency over the one with a single worker."""
    (single,) = [run["files_per_hour"] for run in runs if run["workers"] == 1] or [None]
    return [
        {**run, "efficiency": round(run["files_per_hour"] / (run["workers"] * single), 3) if single else None}
        for run in runs
    ]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and smaller files; for a look, not for the record")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--keep", type=Path, help="folder for the micrographs and the runs; to go on after a break")
    arguments = parser.parse_args()
    count, side = (QUICK_FILES, QUICK_SIDE_PX) if arguments.quick else (FILES, SIDE_PX)
    with tempfile.TemporaryDirectory() as temporary:
        folder = (arguments.keep or Path(temporary)).absolute() / f"{count}x{side}"
        make_micrographs(folder / "images", count, side)
        runs = []
        for workers in arguments.workers:
            known = folder / f"{workers}.json"
            if not known.exists():
                with tempfile.TemporaryDirectory(dir=folder) as place:
                    known.write_text(json.dumps(measure(folder / "images", Path(place) / "out", workers)))
            runs.append(json.loads(known.read_text()))
            print(runs[-1], flush=True)
    numbers = {"shape": [side, side], "pixel_size_nm": PIXEL_NM, "threads_a_worker": 1, "runs": summarise(runs)}
    print(json.dumps(numbers, indent=2))
    print(write_json("batch_quick" if arguments.quick else "batch", numbers))
    return 0


if __name__ == "__main__":
    sys.exit(main())
