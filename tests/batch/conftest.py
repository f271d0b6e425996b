"""Small micrographs, good and bad, and what a test needs to start, kill and compare batches."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from atomseg.batch import BatchSettings, CohortTable, plan_jobs, run_jobs
from atomseg.config import MapConfig
from atomseg.io import read_micrograph

# Loaded by Dask into every worker that a test starts. Drawing takes most of the time of a small image; and every load
# of a network leaves the number of its process in a file.
PRELOAD = """
import os
from pathlib import Path

import atomseg.report
from atomseg.batch import work

atomseg.report.figure_files = lambda record: {"overview.png": b"png", "overview.pdf": b"pdf"}
load = work.load_model


def note(*arguments, **options):
    with Path(os.environ["ATOMSEG_TEST_LOADS"]).open("a") as stream:
        stream.write(f"{os.getpid()}\\n")
    return load(*arguments, **options)


work.load_model = note
"""


@pytest.fixture
def quick_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """In this process, what PRELOAD does in the workers."""
    monkeypatch.setattr("atomseg.report.figure_files", lambda record: {"overview.png": b"png", "overview.pdf": b"pdf"})


@pytest.fixture
def worker_environment(tmp_path: Path) -> dict[str, str]:
    """Environment for commands and for the workers that they or the test start; see PRELOAD."""
    (tmp_path / "preload_quick_figures.py").write_text(PRELOAD)
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)]),
        "DASK_DISTRIBUTED__WORKER__PRELOAD": "preload_quick_figures",
        "ATOMSEG_TEST_LOADS": str(tmp_path / "loads"),
    }


@pytest.fixture
def start(worker_environment: dict[str, str]) -> Iterator[Callable[..., "subprocess.Popen[str]"]]:
    """Start `atomseg` in a process of its own, which does not outlive the test."""
    started: list[subprocess.Popen[str]] = []

    def call(*arguments: object) -> "subprocess.Popen[str]":
        code = "from atomseg.cli import main; main()"
        started.append(subprocess.Popen(
            [sys.executable, "-c", code, *map(str, arguments)],
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=worker_environment,
        ))  # fmt: skip
        return started[-1]

    yield call
    for process in started:
        with process:
            process.kill()


@pytest.fixture(scope="session")
def crops(repository: Path) -> list[tuple[np.ndarray, tuple[float, float]]]:
    """128 x 128 px pieces of the sample micrographs, with their pixel sizes: lattices, with columns and phases."""
    pieces = []
    for path in sorted((repository / "samples").glob("*.tif")):
        whole = read_micrograph(path)
        for y, x in ((100, 100), (250, 180)):
            pieces.append((whole.image[y : y + 128, x : x + 128].copy(), whole.calibration.pixel_size_nm))
    return pieces


@pytest.fixture
def fill(crops: list[tuple[np.ndarray, tuple[float, float]]]) -> Callable[[Path, int, int], Path]:
    """Fill a folder with so many micrographs, of which so many can not be mapped; noise where the crops run out."""

    def call(folder: Path, count: int, bad: int) -> Path:
        folder.mkdir(parents=True)
        for index in range(count - bad):
            path = folder / f"{index:03d}.tif"
            if index % 20 == 3 and index // 20 < len(crops):
                _write(path, *crops[index // 20])
            else:
                noise = np.random.default_rng(index).integers(100, 1000, (96, 96), dtype=np.uint16)
                _write(path, noise, (0.02, 0.02))
        for index, spoil in zip(range(bad), _SPOILED, strict=False):
            spoil(folder / f"{index * 17:03d}_bad.tif")
        return folder

    return call


def _write(path: Path, image: np.ndarray, pixel_nm: tuple[float, float] | None) -> None:
    if pixel_nm is None:
        tifffile.imwrite(path, image)
        return
    resolution = (1 / pixel_nm[1], 1 / pixel_nm[0])
    tifffile.imwrite(path, image, imagej=True, resolution=resolution, metadata={"unit": "nm"})


def _cut_short(path: Path) -> None:
    _write(path, np.random.default_rng(0).integers(0, 999, (96, 96), dtype=np.uint16), (0.02, 0.02))
    path.write_bytes(path.read_bytes()[:5000])


_NOISE = np.random.default_rng(1).normal(500, 50, (96, 96)).astype(np.float32)
_SPOILED: tuple[Callable[[Path], object], ...] = (
    lambda path: path.touch(),
    _cut_short,
    lambda path: path.write_text("no micrograph\n" * 100),
    lambda path: path.symlink_to("a file that is gone"),
    lambda path: _write(path, _NOISE, None),  # no pixel size
    lambda path: _write(path, np.full((96, 96), 7, np.uint16), (0.02, 0.02)),
    lambda path: _write(path, np.full((96, 96), np.nan, np.float32), (0.02, 0.02)),
    lambda path: _write(path, _NOISE[:1], (0.02, 0.02)),
    lambda path: _write(path, _NOISE[:9, :9], (0.02, 0.02)),
    lambda path: path.write_bytes(b"II*\x00"),
)


@pytest.fixture
def finished() -> Callable[[Path], list[str]]:
    """Names of the result folders of an output folder."""
    return lambda output: sorted(path.parent.name for path in output.glob("[!.]*/summary.json"))


@pytest.fixture
def contents() -> Callable[[Path], dict[str, bytes]]:
    """Every file of an output folder, without the seconds that the results took."""

    def call(output: Path) -> dict[str, bytes]:
        found = {}
        for path in sorted(p for p in output.rglob("*") if p.is_file()):
            content = path.read_bytes()
            if path.name == "summary.json":
                summary = json.loads(content)
                assert summary["provenance"].pop("seconds") >= 0
                content = json.dumps(summary).encode()
            elif path == output / "summary.csv":
                content = pd.read_csv(path, dtype=str).drop(columns="seconds").to_csv(index=False).encode()
            found[path.relative_to(output).as_posix()] = content
        return found

    return call


@pytest.fixture
def map_here(quick_figures: None, monkeypatch: pytest.MonkeyPatch) -> Callable[[Path, Path], None]:
    """What `atomseg map` does with one worker, in this process and undisturbed."""

    def call(folder: Path, output: Path) -> None:
        output.mkdir()
        table = CohortTable(output)
        settings = BatchSettings(output=output, config=MapConfig())
        with monkeypatch.context() as patched:
            patched.setattr("atomseg.batch.sizing.FEW_FILES", 1000)
            for _, outcomes in run_jobs(plan_jobs([folder], output), settings, workers=1):
                table.tell(outcomes)
        table.end()

    return call
