"""How many workers a machine carries, and what each may use: cores, memory, GPU."""

import os
from collections.abc import Mapping
from dataclasses import dataclass

# This many files and one worker need no cluster: workers take about as long to start as a file takes to map.
FEW_FILES = 4
# A worker that maps a 4096 x 4096 micrograph takes 1.8 GB (benchmarks/results/map_4096.json).
WORKER_BYTES = int(2.5e9)
# Of the free memory; the rest is for this process and for what others do meanwhile.
MEMORY_SHARE = 0.9


@dataclass(frozen=True)
class WorkerPlan:
    """A local cluster.

    Parameters
    ----------
    threads : int
        Threads of torch in each worker.
    memory_bytes : int
        What a worker may use; one that takes more is ended, and its file tried again.
    environments : tuple of mapping
        Environment variables of each worker; there are as many workers.
    """

    threads: int
    memory_bytes: int
    environments: tuple[Mapping[str, str], ...]

    @property
    def workers(self) -> int:
        """Number of workers."""
        return len(self.environments)


def plan_workers(jobs: int, workers: int | None, device: str) -> WorkerPlan | None:
    """A cluster for so many jobs on this machine; None when they are better done in this process.

    Parameters
    ----------
    jobs : int
        Files to map.
    workers : int, optional
        As asked for; None for as many as fit.
    device : str
        ``auto``, ``cpu`` or ``cuda``.
    """
    if jobs <= 1 or (workers in {None, 1} and jobs <= FEW_FILES):
        return None
    from dask.system import CPU_COUNT
    from distributed.system import MEMORY_LIMIT
    from psutil import virtual_memory

    # Both know about the limits that containers and batch systems set; the memory free now may be less.
    free = int(MEMORY_SHARE * min(MEMORY_LIMIT, virtual_memory().available))
    gpus = () if device == "cpu" else visible_gpus(_count_gpus(), os.environ)
    return size_workers(jobs, workers, cores=CPU_COUNT, free_bytes=free, gpus=gpus)


def size_workers(
    jobs: int, workers: int | None, *, cores: int, free_bytes: int, gpus: tuple[str, ...] = ()
) -> WorkerPlan:
    """Share cores, memory and GPUs among workers.

    Parameters
    ----------
    jobs : int
        There are never more workers than jobs.
    workers : int, optional
        As asked for. None takes one a GPU, or without GPUs one a core, as far as the memory reaches.
    cores : int
        Cores to share.
    free_bytes : int
        Memory to share.
    gpus : tuple of str
        Names for ``CUDA_VISIBLE_DEVICES``; each worker sees one.
    """
    if workers is None:
        workers = min(len(gpus) or cores, free_bytes // WORKER_BYTES)
    count = max(1, min(workers, jobs))
    environments = tuple({"CUDA_VISIBLE_DEVICES": gpus[n % len(gpus)]} if gpus else {} for n in range(count))
    return WorkerPlan(threads=max(1, cores // count), memory_bytes=free_bytes // count, environments=environments)


def visible_gpus(count: int, environment: Mapping[str, str]) -> tuple[str, ...]:
    """Names of the GPUs that torch counts: their numbers, or what ``CUDA_VISIBLE_DEVICES`` lists."""
    named = [name.strip() for name in environment.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return tuple(named[:count]) if named else tuple(str(n) for n in range(count))


def _count_gpus() -> int:
    import torch

    return torch.cuda.device_count()
