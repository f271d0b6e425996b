"""A batch in this process or in several; outcomes come as they are ready."""

import multiprocessing
import os
import signal
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from types import FrameType

from atomseg.batch.plan import Job
from atomseg.batch.work import BatchSettings, Outcome, map_job

# A worker that is told to stop finishes its Python statement first and removes what it was writing.
_STOP_SECONDS = 15.0


def run_jobs(
    jobs: Sequence[Job],
    settings: BatchSettings,
    *,
    workers: int = 1,
    on_stage: Callable[[str], None] | None = None,
) -> Generator[tuple[Job, list[Outcome]]]:
    """Outcomes of all jobs, each as soon as it is known.

    Parameters
    ----------
    jobs : sequence of Job
        From `plan_jobs`.
    settings : BatchSettings
        What all jobs share.
    workers : int
        Processes; 1 runs in this one.
    on_stage : callable, optional
        Called with the name of each stage as it begins; only with one worker.

    Yields
    ------
    tuple
        The job and its outcomes; in the order of `jobs` with one worker, in the order of completion with more.
    """
    if workers <= 1:
        for job in jobs:
            yield job, map_job(job, settings, on_stage)
        return
    waiting = list(jobs)
    while waiting:
        suspects: list[Job] = []
        yield from _run_pool(waiting, settings, workers, suspects)
        # A process that died (out of memory, a crash in a library) takes the whole pool with it: what was running
        # then is tried again one at a time, each in a pool of its own, so that only the culprit fails.
        for job in suspects:
            culprit: list[Job] = []
            yield from _run_pool([job], settings, 1, culprit)
            if culprit:
                reason = "its process died, most often for lack of memory; try fewer --workers"
                yield job, [Outcome(job.source, job.folder, "failed", reason)]


def _run_pool(
    waiting: list[Job], settings: BatchSettings, workers: int, suspects: list[Job]
) -> Generator[tuple[Job, list[Outcome]]]:
    """Run jobs off the front of `waiting` until none is left, or the pool breaks: `suspects` get what was running."""
    threads = max(1, (os.cpu_count() or 1) // workers)
    bystanders = {process.pid for process in multiprocessing.active_children()}
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker, initargs=(threads,))
    running: dict[Future[list[Outcome]], Job] = {}
    try:
        while waiting or running:
            # No more than one job a worker at a time, so that stopping loses little and a crash points at few.
            while waiting and len(running) < workers:
                # Taken off the list only once the pool has it: a broken pool refuses it.
                running[pool.submit(map_job, waiting[0], settings)] = waiting[0]
                waiting.pop(0)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                job = running[future]
                outcomes = future.result()
                del running[future]
                yield job, outcomes
    except BrokenProcessPool:
        suspects.extend(running.values())
    finally:
        # Jobs still run here when this generator is interrupted or closed, or the pool broke.
        if running:
            _stop_workers(bystanders)
        pool.shutdown(wait=True, cancel_futures=True)


def _start_worker(threads: int) -> None:
    """Set a worker up: its share of the cores, and an orderly end when the batch is stopped."""
    import torch

    torch.set_num_threads(threads)
    # Ctrl-C reaches every process of the terminal at once; the parent alone decides what happens.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _leave)


def _leave(_signum: int, _frame: FrameType | None) -> None:
    raise SystemExit(143)  # unwinds the stack, so that a half-written result is removed


def _stop_workers(bystanders: set[int | None]) -> None:
    workers = [process for process in multiprocessing.active_children() if process.pid not in bystanders]
    for process in workers:
        process.terminate()
    for process in workers:
        process.join(_STOP_SECONDS)
        if process.is_alive():
            process.kill()
