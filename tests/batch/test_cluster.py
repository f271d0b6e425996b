"""Batches on a Dask cluster that somebody else started, and on one of this machine."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from atomseg.batch import BatchSettings, Job, Outcome, map_job, run_jobs
from atomseg.batch.cluster import _LOCAL_SETTINGS, Cluster, join_cluster, local_cluster
from atomseg.batch.sizing import WorkerPlan
from atomseg.config import MapConfig
from atomseg.errors import ClusterError, UsageError

Start = Callable[..., "subprocess.Popen[str]"]

# Stands for `map_job` in workers, which import it because they inherit or are given the search path.
STAND_IN = """
import os
import time

import numpy as np
import torch

from atomseg.batch import Outcome


def map_job(job, settings, on_stage=None):
    if "slow" in job.source:
        time.sleep(1.0)
    if "huge" in job.source:
        held = [np.ones(2**24) for _ in range(20)]  # 2.7 GB, an eighth at a time
        time.sleep(10.0)
    told = f"{os.environ.get('CUDA_VISIBLE_DEVICES')} {torch.get_num_threads()} {os.getpid()}"
    return [Outcome(job.source, job.folder, "done", told)]
"""


class OwnCluster:
    """A scheduler and its workers, as a person starts them."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._folder = folder
        self._environment = environment
        self._processes: list[subprocess.Popen[bytes]] = []
        self.scheduler = self._start("scheduler", "--port", "0", "--scheduler-file", str(folder / "scheduler.json"))
        self.address = self._address()

    def _start(self, *words: str) -> "subprocess.Popen[bytes]":
        dask = Path(sys.executable).with_name("dask")
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        process = subprocess.Popen(
            [str(dask), *words, "--no-dashboard", "--host", "127.0.0.1"],
            cwd=self._folder, env=self._environment, **quiet,
        )  # fmt: skip
        self._processes.append(process)
        return process

    def _address(self) -> str:
        end = time.monotonic() + 120
        while time.monotonic() < end:
            try:
                return str(json.loads((self._folder / "scheduler.json").read_text())["address"])
            except (OSError, ValueError):
                time.sleep(0.1)
        raise AssertionError("the scheduler did not start")

    def restart(self) -> None:
        """Kill the scheduler and start another one at the same address."""
        self.scheduler.kill()
        self.scheduler.wait()
        self.scheduler = self._start("scheduler", "--port", self.address.rpartition(":")[2])

    def add_worker(self) -> None:
        self._start("worker", self.address, "--nthreads", "1", "--nworkers", "1", "--death-timeout", "120")

    def close(self) -> None:
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


@pytest.fixture
def own_cluster(tmp_path: Path, worker_environment: dict[str, str]) -> Iterator[OwnCluster]:
    folder = tmp_path / "cluster"
    folder.mkdir()
    cluster = OwnCluster(folder, worker_environment)
    try:
        yield cluster
    finally:
        cluster.close()


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "stand_in_worker.py").write_text(STAND_IN)
    monkeypatch.syspath_prepend(tmp_path)
    import stand_in_worker

    monkeypatch.setattr("atomseg.batch.run.map_job", stand_in_worker.map_job)
    yield
    del sys.modules["stand_in_worker"]


@pytest.fixture
def settings(tmp_path: Path) -> BatchSettings:
    return BatchSettings(output=tmp_path, config=MapConfig())


def _jobs(*names: str) -> list[Job]:
    return [Job(name, name) for name in names]


def _plan(memory_bytes: int, *environments: dict[str, str], threads: int = 1) -> WorkerPlan:
    return WorkerPlan(threads=threads, memory_bytes=memory_bytes, environments=environments)


def test_one_worker_two_workers_and_a_cluster_give_the_same(
    own_cluster: OwnCluster,
    start: Start,
    fill: Callable[[Path, int, int], Path],
    map_here: Callable[[Path, Path], None],
    contents: Callable[[Path], dict[str, bytes]],
    tmp_path: Path,
) -> None:
    for _ in range(2):
        own_cluster.add_worker()
    folder = fill(tmp_path / "in", 8, 2)  # the fourth is a lattice
    map_here(folder, tmp_path / "here")
    two = start("map", folder, "-o", tmp_path / "two", "--workers", 2)
    told = two.communicate(timeout=300)
    assert two.returncode == 1, told
    assert "2 workers, each with" in told[1]
    cluster = start("map", folder, "-o", tmp_path / "cluster_out", "--scheduler", own_cluster.address)
    told = cluster.communicate(timeout=300)
    assert cluster.returncode == 1, told
    assert "6 done" in told[0]
    assert f"2 workers at {own_cluster.address}" in told[1]
    here = contents(tmp_path / "here")
    assert here == contents(tmp_path / "two")
    assert here == contents(tmp_path / "cluster_out")
    assert b"layered" in here["003/columns.csv"] or b"R-3m" in here["003/columns.csv"]


def test_a_lost_scheduler_is_waited_for_and_then_told_of(
    own_cluster: OwnCluster, stand_in: None, settings: BatchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    own_cluster.add_worker()
    told = []
    with join_cluster(own_cluster.address) as cluster:
        for job, _ in run_jobs(_jobs("a", "b slow", "c slow", "d"), settings, cluster=cluster):
            told.append(job.source)
            if len(told) == 1:
                own_cluster.restart()
                own_cluster.add_worker()
        assert sorted(told) == ["a", "b slow", "c slow", "d"]
        monkeypatch.setattr("atomseg.batch.cluster._RETURN_SECONDS", 1.0)
        results = run_jobs(_jobs("e", "f slow", "g slow"), settings, cluster=cluster)
        next(results)
        own_cluster.scheduler.kill()
        with pytest.raises(ClusterError, match="say the same command again"):
            list(results)


class Deserted:
    """A scheduler whose workers are gone."""

    status = "running"

    def nthreads(self) -> dict[str, int]:
        return {}


def test_workers_that_never_come_back_are_not_waited_for_for_ever(
    settings: BatchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atomseg.batch.cluster._LOOK_SECONDS", 0.02)
    monkeypatch.setattr("atomseg.batch.cluster._ALONE_SECONDS", 0.1)
    cluster = Cluster(Deserted(), plan=_plan(10**9, {}))  # type: ignore[arg-type]
    with pytest.raises(ClusterError, match="no new one starts"):
        list(cluster.run(_jobs("a"), settings, map_job))


def test_nobody_at_the_address(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("atomseg.batch.cluster._CONNECT_SECONDS", 0.5)
    with (
        pytest.raises(UsageError, match="no Dask scheduler answers there"),
        join_cluster("tcp://127.0.0.1:1"),
    ):
        pass


def test_a_worker_that_takes_too_much_memory_fails_its_file_only(
    stand_in: None, settings: BatchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(_LOCAL_SETTINGS, "distributed.scheduler.allowed-failures", 0)  # starting again takes seconds
    # A worker takes 0.4 GB before it does anything.
    with local_cluster(_plan(int(1.2e9), {}, {})) as cluster:
        told: dict[str, Outcome] = {}
        for job, (outcome,) in run_jobs(_jobs("a", "huge", "b", "c"), settings, cluster=cluster):
            told[job.source] = outcome
    assert {name: outcome.status for name, outcome in told.items()} == {
        "a": "done", "b": "done", "c": "done", "huge": "failed",
    }  # fmt: skip
    assert "died once, out of memory" in told["huge"].reason
    assert "of 1.2 GB" in told["huge"].reason


def test_each_worker_has_its_gpu_and_its_threads(
    stand_in: None, settings: BatchSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atomseg.batch.sizing._count_gpus", lambda: 2)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    monkeypatch.setattr("dask.system.CPU_COUNT", 6)
    names = [f"{n} slow" for n in range(6)]
    told = [outcomes[0].reason.split() for _, outcomes in run_jobs(_jobs(*names), settings, workers=None)]
    assert {gpu for gpu, _, _ in told} == {"5", "7"}
    assert len({(gpu, process) for gpu, _, process in told}) == 2  # one process a GPU
    assert {threads for _, threads, _ in told} == {"3"}
    assert os.environ["CUDA_VISIBLE_DEVICES"] == "5,7"
