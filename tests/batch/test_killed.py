"""Killed at any moment and said again: finished work stays, nothing is done twice, and the end is the same."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import pytest
import torch

Start = Callable[..., "subprocess.Popen[str]"]
Fill = Callable[[Path, int, int], Path]
Finished = Callable[[Path], list[str]]
Contents = Callable[[Path], dict[str, bytes]]

FILES, BAD = 200, 10
LONGEST_WAIT = 600.0

pytestmark = pytest.mark.skipif(os.name != "posix", reason="kill -9")


def _wait_for_results(output: Path, count: int, process: "subprocess.Popen[str]") -> None:
    end = time.monotonic() + LONGEST_WAIT
    while len(list(output.glob("[!.]*/summary.json"))) < count:
        if process.poll() is not None or time.monotonic() > end:
            raise AssertionError(process.communicate())
        time.sleep(0.05)


def _workers(process: "subprocess.Popen[str]") -> list[psutil.Process]:
    return [child for child in psutil.Process(process.pid).children(recursive=True) if _is_worker(child)]


def _is_worker(child: psutil.Process) -> bool:
    try:
        return "spawn_main" in " ".join(child.cmdline())
    except psutil.NoSuchProcess:  # it ended while it was asked
        return False


def test_killed_three_times_the_end_is_that_of_an_undisturbed_run(
    start: Start,
    fill: Fill,
    map_here: Callable[[Path, Path], None],
    finished: Finished,
    contents: Contents,
    tmp_path: Path,
) -> None:
    folder, output = fill(tmp_path / "in", FILES, BAD), tmp_path / "killed"
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # more only wait for each other on images as small as these
    map_here(folder, tmp_path / "calm")
    torch.set_num_threads(threads)
    rng = np.random.default_rng()  # another moment in every run of this test; the outcome may not depend on it
    command = ("map", folder, "-o", output, "--workers", 2)
    for _ in range(3):
        process = start(*command)
        _wait_for_results(output, len(finished(output)) + int(rng.integers(2, 50)), process)
        time.sleep(rng.uniform(0.0, 0.2))
        os.kill(process.pid, signal.SIGKILL)
        process.communicate()
        # What is there is whole and told of; rows may lack for what the workers had just finished.
        assert all((output / name / "columns.csv").is_file() for name in finished(output))
        rows = pd.read_csv(output / "summary.csv", keep_default_na=False)
        assert set(rows.query("status == 'done'")["folder"]) <= set(finished(output))
        assert not rows["folder"].duplicated().any()
    before = {name: (output / name / "summary.json").stat().st_mtime_ns for name in finished(output)}
    assert 6 <= len(before) < FILES - BAD
    process = start(*command)
    _wait_for_results(output, len(before) + 10, process)
    os.kill(_workers(process)[0].pid, signal.SIGKILL)  # now a worker alone: the others, and a new one, go on
    _, err = process.communicate(timeout=LONGEST_WAIT)
    assert process.returncode == 1, err  # the bad files
    assert "Traceback" not in err
    assert {name: (output / name / "summary.json").stat().st_mtime_ns for name in before} == before
    rows = pd.read_csv(output / "summary.csv", keep_default_na=False)
    told = rows.query("status == 'failed'")["reason"].tolist()
    assert rows["status"].value_counts().to_dict() == {"done": FILES - BAD, "refused": BAD}, told
    assert (rows.query("status == 'refused'")["reason"] != "").all()
    calm, killed = contents(tmp_path / "calm"), contents(output)
    assert killed.keys() == calm.keys()  # nothing left over either
    assert [name for name in calm if calm[name] != killed[name]] == []
    # A process that maps loads the network once: five runs' worth of workers, and the one that took a dead one's place.
    loads = (tmp_path / "loads").read_text().split()
    assert len(set(loads)) == len(loads)


def test_two_runs_into_one_folder_share_the_work(start: Start, fill: Fill, finished: Finished, tmp_path: Path) -> None:
    folder, output = fill(tmp_path / "in", 4, 0), tmp_path / "out"
    runs = [start("map", folder, "-o", output) for _ in range(2)]
    told = [run.communicate(timeout=LONGEST_WAIT) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], told
    lines = [line for out, _ in told for line in out.splitlines()]
    assert sorted(line.split()[1].strip(":") for line in lines if line.startswith("done ")) == finished(output)
    assert len(finished(output)) == 4
    assert list(pd.read_csv(output / "summary.csv")["status"]) == ["done"] * 4
    assert {path.name for path in output.iterdir()} == {
        "000",
        "001",
        "002",
        "003",
        "summary.csv",
        "report.html",
        "assets",
    }
