"""The script for SLURM, with an `sbatch` that runs the job on this machine."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

pytest.importorskip("dask_jobqueue")
pytestmark = pytest.mark.skipif(os.name != "posix", reason="shell scripts")

# What is seen of sbatch: a job script in, a number out, and the job runs. In a session of its own it can be cancelled.
SBATCH = """#!/bin/sh
grep '^#SBATCH' "$1" >> "$FAKE_SLURM/directives"
cp "$1" "$FAKE_SLURM/job.sh"
setsid sh "$FAKE_SLURM/job.sh" > "$FAKE_SLURM/job.log" 2>&1 &
echo $! > "$FAKE_SLURM/pid"
echo "Submitted batch job $!"
"""
SCANCEL = """#!/bin/sh
kill -TERM -- "-$1"
"""


def test_the_script_submits_workers_and_maps_on_them(
    repository: Path, fill: Callable[[Path, int, int], Path], worker_environment: dict[str, str], tmp_path: Path
) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    environment = {
        **worker_environment,
        "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
        "FAKE_SLURM": str(tmp_path),
    }
    folder = fill(tmp_path / "in", 3, 1)
    words = ["--jobs", "1", "--cores", "1", "--memory", "3GB", "--partition", "night", "--gpus", "--interface", "lo"]
    command = [sys.executable, repository / "scripts" / "slurm_map", *words, "--", folder, "-o", tmp_path / "out"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    log = (tmp_path / "job.log").read_text()
    assert done.returncode == 1, done.stdout + done.stderr + log
    assert "2 done" in done.stdout
    assert "1 refused" in done.stdout
    assert list(pd.read_csv(tmp_path / "out" / "summary.csv")["status"]) == ["done", "refused", "done"]
    directives = (tmp_path / "directives").read_text()
    assert "#SBATCH -p night" in directives
    assert "#SBATCH --gres=gpu:1" in directives
    assert "#SBATCH -n 1" in directives
    assert _ends(int((tmp_path / "pid").read_text()))  # the job goes with the command


def test_every_option_of_the_script_reaches_the_job(repository: Path) -> None:
    asked = {
        "--cores": "3", "--memory": "6GB", "--walltime": "04:00:00", "--partition": "night", "--account": "abc",
        "--interface": "lo", "--sbatch": "--mail-type=END", "--before": "module load cuda",
    }  # fmt: skip
    words = [f"{name}={value}" for name, value in asked.items()]
    command = [sys.executable, repository / "scripts" / "slurm_map", "--jobs=8", "--gpus", *words, "--show", "--", "x"]
    job = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
    for line in (
        "-p night",
        "-A abc",
        "--cpus-per-task=3",
        "--mem=6G",
        "-t 04:00:00",
        "--gres=gpu:1",
        "--mail-type=END",
    ):
        assert f"#SBATCH {line}\n" in job
    assert "\nmodule load cuda\n" in job
    assert "MEMORY__PAUSE=False" in job
    assert f"{sys.executable} -m distributed.cli.dask_worker" in job
    assert "--nthreads 3" in job
    assert "--interface lo" in job


def _ends(session: int) -> bool:
    """Whether no process of a session is left soon; ending in order takes a worker a few seconds."""
    end = time.monotonic() + 60
    while time.monotonic() < end:
        try:
            os.killpg(session, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.1)
    return False
