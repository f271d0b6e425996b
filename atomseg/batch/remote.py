"""What a Dask worker does: one job at a time, with its share of the cores."""

import threading
from collections.abc import Callable

import torch
from distributed import get_worker

from atomseg._version import __version__
from atomseg.batch.plan import Job
from atomseg.batch.work import BatchSettings, Outcome

# Memory and the threads of torch belong to the process, whatever number of tasks Dask would run in it.
_ONE_JOB = threading.Lock()


def work_off(
    call: Callable[[Job, BatchSettings], list[Outcome]],
    job: Job,
    settings: BatchSettings,
    threads: int | None,
    version: str,
) -> list[Outcome]:
    """Do a job in this worker.

    Parameters
    ----------
    call : callable
        What to do with it.
    job : Job
        Input and result folder.
    settings : BatchSettings
        What all jobs share.
    threads : int, optional
        Threads for torch; None takes those that the worker was started with.
    version : str
        Version of atomseg that hands the job out.
    """
    if version != __version__:
        reason = f"the worker {get_worker().address} has atomseg {__version__}, the command has {version}; "
        return [Outcome(job.source, job.folder, "failed", reason + "install the same version on both")]
    with _ONE_JOB:
        torch.set_num_threads(threads or get_worker().state.nthreads)
        return call(job, settings)
