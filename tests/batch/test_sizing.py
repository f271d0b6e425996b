"""As many workers as cores, GPUs and memory carry, and none where a cluster would only cost time."""

import subprocess
import sys
from pathlib import Path

import pytest

from atomseg.batch.sizing import FEW_FILES, WORKER_BYTES, plan_workers, size_workers, visible_gpus


@pytest.mark.parametrize(
    ("cores", "workers_fit", "gpus", "jobs", "expected"),
    [
        (8, 100, 0, 1000, (8, 1)),
        (8, 100, 0, 3, (3, 2)),  # no more workers than files; they share the cores
        (64, 5, 0, 1000, (5, 12)),  # memory for five
        (1, 0, 0, 10, (1, 1)),  # never none
        (16, 100, 4, 1000, (4, 4)),  # one a GPU
        (4, 100, 8, 1000, (8, 1)),
    ],
)
def test_default_size(cores: int, workers_fit: int, gpus: int, jobs: int, expected: tuple[int, int]) -> None:
    free = workers_fit * WORKER_BYTES + 1
    plan = size_workers(jobs, None, cores=cores, free_bytes=free, gpus=tuple(map(str, range(gpus))))
    assert (plan.workers, plan.threads) == expected
    assert plan.workers * plan.threads <= max(cores, plan.workers)
    assert plan.workers * plan.memory_bytes <= free


def test_workers_that_were_asked_for_share_the_gpus_and_the_memory() -> None:
    plan = size_workers(10, 5, cores=2, free_bytes=10**10, gpus=("0", "1"))
    assert [environment["CUDA_VISIBLE_DEVICES"] for environment in plan.environments] == ["0", "1", "0", "1", "0"]
    assert plan.memory_bytes == 2 * 10**9


def test_gpus_keep_the_names_that_the_user_or_the_cluster_gave_them() -> None:
    assert visible_gpus(2, {}) == ("0", "1")
    assert visible_gpus(2, {"CUDA_VISIBLE_DEVICES": "3, GPU-8932f937"}) == ("3", "GPU-8932f937")
    assert visible_gpus(0, {"CUDA_VISIBLE_DEVICES": "3"}) == ()  # named, but not there


@pytest.mark.parametrize(("jobs", "workers"), [(1, None), (1, 8), (FEW_FILES, None), (FEW_FILES, 1)])
def test_few_files_need_no_cluster(jobs: int, workers: int | None) -> None:
    assert plan_workers(jobs, workers, "cpu") is None


@pytest.mark.parametrize(("jobs", "workers"), [(2, 2), (FEW_FILES + 1, 1), (FEW_FILES + 1, None)])
def test_many_files_have_one(jobs: int, workers: int | None) -> None:
    plan = plan_workers(jobs, workers, "cpu")
    assert plan is not None
    assert workers in {None, plan.workers}
    assert not any(plan.environments)


def test_one_file_does_not_load_dask(repository: Path, tmp_path: Path) -> None:
    sample = repository / "samples" / "srtio3_001.tif"
    code = (
        "import sys; from atomseg.cli import app\n"
        f"try: app(['map', {str(sample)!r}, '-o', {str(tmp_path / 'out')!r}])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print(sorted({'dask', 'distributed', 'tornado'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=600)
    assert done.stdout.splitlines()[-1] == "[]"
