"""A batch in this process or on a cluster of them; outcomes come as they are ready."""

import os
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import TYPE_CHECKING

from atomseg.batch.claims import sweep
from atomseg.batch.plan import Job
from atomseg.batch.sizing import plan_workers
from atomseg.batch.work import BatchSettings, Outcome, has_content, map_job

if TYPE_CHECKING:
    from atomseg.batch.cluster import Cluster

# Until a file that another run works on is looked at again.
_BUSY_SECONDS = 1.0


class Waiting:
    """Jobs that are still to be tried; one that another run works on comes back after a pause."""

    def __init__(self, jobs: Sequence[Job]) -> None:
        self._jobs = deque(jobs)
        self._busy: deque[tuple[float, Job]] = deque()

    def __bool__(self) -> bool:
        return bool(self._jobs or self._busy)

    def take(self) -> Job | None:
        """The next job; None while there are none but busy ones."""
        if self._jobs:
            return self._jobs.popleft()
        if self._busy and self._busy[0][0] <= time.monotonic():
            return self._busy.popleft()[1]
        return None

    def put_back(self, job: Job) -> None:
        """A job that was not tried to its end."""
        self._jobs.appendleft(job)

    def put_off(self, job: Job) -> None:
        """A job that another run works on."""
        self._busy.append((time.monotonic() + _BUSY_SECONDS, job))


def run_jobs(
    jobs: Sequence[Job],
    settings: BatchSettings,
    *,
    workers: int | None = 1,
    cluster: "Cluster | None" = None,
    on_stage: Callable[[str], None] | None = None,
    on_cluster: Callable[[str], None] | None = None,
) -> Generator[tuple[Job, list[Outcome]]]:
    """Outcomes of all jobs, each as soon as it is known.

    What is finished already is told first and needs no worker. A few jobs with at most one worker run in this process;
    others on a cluster, where a worker that dies takes nothing but its own job with it.

    Parameters
    ----------
    jobs : sequence of Job
        From `plan_jobs`.
    settings : BatchSettings
        What all jobs share.
    workers : int, optional
        Processes of a local cluster; None takes as many as the cores, GPUs and memory allow.
    cluster : Cluster, optional
        From `join_cluster`; `workers` does not count then.
    on_stage : callable, optional
        Called with the name of each stage as it begins; only when jobs run in this process.
    on_cluster : callable, optional
        Called with a line about the workers once they are there.

    Yields
    ------
    tuple
        The job and its outcomes, in the order of completion.

    Raises
    ------
    ClusterError
        If the cluster can not be started, or is lost and does not come back.
    """
    sweep(settings.output)
    try:
        left = yield from _tell_finished(jobs, settings)
        plan = plan_workers(len(left), workers, settings.device) if left and cluster is None else None
        if not left:
            return
        if cluster is None and plan is None:
            yield from _run_here(left, settings, on_stage)
            return
        from atomseg.batch.cluster import local_cluster

        if cluster is None and plan is not None:
            with local_cluster(plan) as own, closing(own.run(left, settings, map_job, on_cluster)) as results:
                yield from results
        elif cluster is not None:
            with closing(cluster.run(left, settings, map_job, on_cluster)) as results:
                yield from results
    finally:
        sweep(settings.output)


def _tell_finished(
    jobs: Sequence[Job], settings: BatchSettings
) -> Generator[tuple[Job, list[Outcome]], None, list[Job]]:
    """Tell of jobs whose result folder is there already; gives the others."""
    if settings.overwrite or settings.frame == "all":  # how many frames there are, only reading tells
        return list(jobs)
    found = [job for job in jobs if has_content(settings.output / job.folder)]
    left = set(jobs) - set(found)
    # Most of it is hashing the inputs, which leaves Python's lock to others.
    pool = ThreadPoolExecutor(os.cpu_count() or 1)
    try:
        answers: Iterator[list[Outcome]] = pool.map(lambda job: map_job(job, settings), found)
        for job, outcomes in zip(found, answers, strict=True):
            if any(outcome.status == "busy" for outcome in outcomes):
                left.add(job)
            else:
                yield job, outcomes
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return [job for job in jobs if job in left]


def _run_here(
    jobs: Sequence[Job], settings: BatchSettings, on_stage: Callable[[str], None] | None
) -> Iterator[tuple[Job, list[Outcome]]]:
    waiting = Waiting(jobs)
    while waiting:
        job = waiting.take()
        if job is None:
            time.sleep(_BUSY_SECONDS / 4)
            continue
        outcomes = map_job(job, settings, on_stage)
        if any(outcome.status == "busy" for outcome in outcomes):
            waiting.put_off(job)
        else:
            yield job, outcomes
