"""Ctrl-C: the command ends at once, whole results stay, nothing half-written is left, the next run goes on."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import Result

Launch = Callable[[Sequence[object]], "subprocess.Popen[str]"]
Write = Callable[..., Path]

pytestmark = pytest.mark.skipif(os.name != "posix", reason="signals as a terminal sends them")


def _wait_for(path: Path, process: "subprocess.Popen[str]", seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not path.exists():
        if process.poll() is not None or time.monotonic() > end:
            out, err = process.communicate()
            raise AssertionError(f"{path} never came; exit code {process.returncode}\n{out}\n{err}")
        time.sleep(0.02)


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_between_and_within_files(launch: Launch, write_tif: Write, tmp_path: Path, workers: int) -> None:
    for seed in range(6):
        write_tif(tmp_path / "in" / f"{seed}.tif", seed=seed, shape=(160, 160))
    process = launch(["map", tmp_path / "in", "-o", tmp_path / "out", "--workers", workers])
    _wait_for(tmp_path / "out" / "summary.csv", process)
    # A terminal sends Ctrl-C to every process of the command.
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "Traceback" not in err
    assert "interrupted" in err
    results = [entry for entry in (tmp_path / "out").iterdir() if entry.is_dir() and entry.name != "assets"]
    assert 1 <= len(results) < 6
    assert all((folder / "summary.json").is_file() for folder in results)  # the file that is written last
    assert not [entry for entry in (tmp_path / "out").iterdir() if entry.name.startswith(".")]
    assert set(pd.read_csv(tmp_path / "out" / "summary.csv")["status"]) == {"done"}


def test_sigterm_ends_like_ctrl_c(launch: Launch, write_tif: Write, tmp_path: Path) -> None:
    for seed in range(4):
        write_tif(tmp_path / "in" / f"{seed}.tif", seed=seed, shape=(160, 160))
    process = launch(["map", tmp_path / "in", "-o", tmp_path / "out"])
    _wait_for(tmp_path / "out" / "summary.csv", process)
    process.terminate()
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert not [entry for entry in (tmp_path / "out").iterdir() if entry.name.startswith(".")]


def test_ctrl_c_while_writing(
    invoke: Callable[..., Result], write_tif: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    image = write_tif(tmp_path / "x.tif")
    with monkeypatch.context() as patched:
        patched.setattr("atomseg.io.results.write_map", interrupt)
        stopped = invoke("map", image, "-o", tmp_path / "out")
    assert stopped.exit_code == 130
    assert {entry.name for entry in (tmp_path / "out").iterdir()} <= {"assets"}  # what all pages share
    assert invoke("map", image, "-o", tmp_path / "out").exit_code == 0
