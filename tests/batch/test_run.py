"""A batch goes on whatever happens to one of its processes."""

import importlib
from pathlib import Path

import pytest

from atomseg.batch import BatchSettings, Job, run_jobs
from atomseg.batch.table import merge_rows
from atomseg.config import MapConfig

# Stands for `map_job` in the worker processes, which can import it because they inherit the search path.
DEADLY = """
import os
import time

from atomseg.batch import Outcome


def map_job(job, settings, on_stage=None):
    if "deadly" in job.source:
        time.sleep(0.3)  # the neighbour is at work by then
        os._exit(9)  # as the kernel ends a process when memory runs out
    return [Outcome(job.source, job.folder, "done")]
"""


@pytest.fixture
def deadly(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "deadly_worker.py").write_text(DEADLY)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr("atomseg.batch.run.map_job", importlib.import_module("deadly_worker").map_job)


def test_a_dying_process_fails_its_own_file_only(deadly: None, tmp_path: Path) -> None:
    jobs = [Job(name, name) for name in ("a", "deadly", "b", "c")]
    settings = BatchSettings(output=tmp_path, config=MapConfig())
    told = {job.source: outcomes for job, outcomes in run_jobs(jobs, settings, workers=2)}
    assert {name: outcome.status for name, (outcome,) in told.items()} == {
        "a": "done", "b": "done", "c": "done", "deadly": "failed",
    }  # fmt: skip
    assert "memory" in told["deadly"][0].reason


def test_earlier_rows_stay_while_their_result_is_there(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "c").mkdir()
    earlier = [{"file": f"/in/{name}.tif", "folder": name, "status": "done"} for name in "abc"]
    now = [{"file": "/in/c.tif", "folder": "c", "status": "skipped"}]
    merged = merge_rows(earlier, now, tmp_path)
    # a is kept, the result of b is gone, c is told anew.
    assert [(row["folder"], row["status"]) for row in merged] == [("a", "done"), ("c", "skipped")]
