"""Workers under Dask: a cluster of this machine, or one that runs already; a job that kills its worker fails alone."""

import importlib.metadata
import importlib.util
import logging
import queue
import signal
import time
import uuid
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

import dask
import psutil
from distributed import Client, Nanny, Scheduler, SpecCluster
from distributed.scheduler import KilledWorker

from atomseg._version import __version__
from atomseg.batch.plan import Job
from atomseg.batch.remote import work_off
from atomseg.batch.run import Waiting
from atomseg.batch.sizing import WorkerPlan
from atomseg.batch.work import BatchSettings, Outcome
from atomseg.errors import ClusterError, UsageError

if TYPE_CHECKING:
    from distributed import Future

Call = Callable[[Job, BatchSettings], list[Outcome]]

# After as many deaths of its worker a job has failed; the first may have been somebody else's doing.
_TRIES = 3
_LOCAL_SETTINGS = {
    "distributed.scheduler.allowed-failures": _TRIES - 1,
    # The workers hold no data of Dask's: nothing to spill, and a worker that pauses would never go on.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": 1.0,
    "distributed.worker.profile.enabled": False,
}
_CONNECT_SECONDS = 5.0
# A scheduler that died, or a network that broke, has this long to come back.
_RETURN_SECONDS = 60.0
# Between two looks at which workers there are.
_LOOK_SECONDS = 1.0
_CLOSE_SECONDS = 5.0
# A local cluster without workers for so long will not have one again: they are replaced within seconds.
_ALONE_SECONDS = 300.0
_OUT_OF_MEMORY = "worker-restart-memory"  # topic under which a nanny reports that it ended its worker


class Cluster:
    """A connection to a Dask scheduler, and how its workers are to be used.

    Parameters
    ----------
    client : distributed.Client
        The connection.
    address : str, optional
        Where to connect again when it is lost; None for a scheduler of this process.
    plan : WorkerPlan, optional
        What each worker may use; None where the workers were started by somebody else.
    """

    def __init__(self, client: Client, *, address: str | None = None, plan: WorkerPlan | None = None) -> None:
        self._client = client
        self._address = address
        self._plan = plan
        self._looked_at = float("-inf")
        self._workers = 0
        self._alone_since: float | None = None

    def describe(self) -> str:
        """One line about the workers, with the address of the dashboard when there is one."""
        self._look()
        count = f"{self._workers} worker{'' if self._workers == 1 else 's'}"
        if self._plan is None:
            text = f"{count} at {self._address}"
        else:
            threads = f"{self._plan.threads} thread{'' if self._plan.threads == 1 else 's'}"
            gpu = ", a GPU" if any(self._plan.environments) else ""
            text = f"{count}, each with {threads}{gpu} and at most {self._plan.memory_bytes / 1e9:.1f} GB of memory"
        return f"{text}; dashboard {self._client.dashboard_link}" if self._has_dashboard() else text

    def close(self) -> None:
        """Close the connection; a cluster that runs elsewhere goes on."""
        with suppress(OSError, TimeoutError):
            self._client.close(timeout=_CLOSE_SECONDS)

    def run(
        self, jobs: list[Job], settings: BatchSettings, call: Call, on_cluster: Callable[[str], None] | None = None
    ) -> Generator[tuple[Job, list[Outcome]]]:
        """Outcomes of jobs in the order of completion; as many jobs are under way as there are workers.

        Handing out no more keeps a job that kills its worker from being counted against jobs that wait behind it.

        Parameters
        ----------
        jobs : list of Job
            What to do.
        settings : BatchSettings
            What all jobs share.
        call : callable
            What a worker does with a job.
        on_cluster : callable, optional
            Called with a line about the workers, and when there is something to wait for.

        Raises
        ------
        ClusterError
            If the scheduler is lost and does not come back.
        """
        tell = on_cluster or (lambda _text: None)
        tell(self.describe())
        waiting = Waiting(jobs)
        running: dict[str, tuple[Future[Any], Job]] = {}
        ended: queue.SimpleQueue[str] = queue.SimpleQueue()
        try:
            while waiting or running:
                self._look(tell)
                while len(running) < self._workers and (job := waiting.take()) is not None:
                    future = self._submit(call, job, settings)
                    running[str(future.key)] = (future, job)
                    future.add_done_callback(lambda done: ended.put(str(done.key)))
                try:
                    key = ended.get(timeout=_LOOK_SECONDS / 2)
                except queue.Empty:
                    # A connection that was closed does not call back.
                    for key in [key for key, (future, _) in running.items() if future.done()]:
                        ended.put(key)
                    continue
                if key not in running:
                    continue
                future, job = running.pop(key)
                outcomes = self._outcomes(future, job)
                if outcomes is None:
                    waiting.put_back(job)
                elif any(outcome.status == "busy" for outcome in outcomes):
                    waiting.put_off(job)
                else:
                    yield job, outcomes
        finally:
            if running and self._client.status == "running":
                with suppress(OSError, TimeoutError):
                    self._client.cancel([future for future, _ in running.values()], force=True)

    def _submit(self, call: Call, job: Job, settings: BatchSettings) -> "Future[Any]":
        threads = None if self._plan is None else self._plan.threads
        key = f"map-{uuid.uuid4().hex}"
        return self._client.submit(work_off, call, job, settings, threads, __version__, key=key, pure=False)

    def _outcomes(self, future: "Future[Any]", job: Job) -> list[Outcome] | None:
        """What a job came to; None when the scheduler forgot it."""
        if future.status in {"cancelled", "lost"}:
            return None
        try:
            exc = future.exception() if future.status == "error" else None
            if exc is None:
                outcomes: list[Outcome] = future.result()
                return outcomes
        except (OSError, TimeoutError, RuntimeError):
            return None  # the connection broke while the answer was on its way; the result may be there already
        if isinstance(exc, KilledWorker):
            reason = self._death(exc)
        else:
            reason = f"its worker could not run it: {type(exc).__name__}: {' '.join(str(exc).split())}"
        return [Outcome(job.source, job.folder, "failed", reason)]

    def _death(self, exc: KilledWorker) -> str:
        count = exc.allowed_failures + 1
        tries = "its worker died " + ("once" if count == 1 else f"{count} times")
        limit = None if self._plan is None else f"{self._plan.memory_bytes / 1e9:.1f} GB"
        used = [event["rss"] for event in self._memory_events() if event.get("worker") == exc.last_worker.address]
        if used:
            share = f" of {limit}" if limit else ""
            return f"{tries}, out of memory: it used {used[-1] / 1e9:.1f} GB{share}; try fewer --workers"
        allowed = f" (it may use {limit})" if limit else ""
        return f"{tries}, most often for lack of memory{allowed}; try fewer --workers"

    def _memory_events(self) -> list[dict[str, Any]]:
        try:
            return [dict(event) for _, event in self._client.get_events(_OUT_OF_MEMORY)]
        except (OSError, TimeoutError):
            return []

    def _look(self, tell: Callable[[str], None] | None = None) -> None:
        """See that the scheduler is there, and count the workers."""
        if time.monotonic() - self._looked_at < _LOOK_SECONDS:
            return
        if self._client.status == "closed":
            self._return()
        before = self._workers
        try:
            self._workers = len(self._client.nthreads()) if self._client.status == "running" else 0
        except (OSError, TimeoutError):
            self._workers = 0
        self._looked_at = time.monotonic()
        if self._workers or self._plan is None:
            self._alone_since = None
        elif self._alone_since is None:
            self._alone_since = self._looked_at
        elif self._looked_at - self._alone_since > _ALONE_SECONDS:
            raise ClusterError("the workers died and no new one starts; is the memory or the disk used up?")
        if tell is not None and before and not self._workers:
            tell("no worker is left; waiting for one")

    def _return(self) -> None:
        """Connect again to a scheduler that was lost."""
        end = time.monotonic() + _RETURN_SECONDS
        while self._address is not None and time.monotonic() < end:
            try:
                self._client = Client(self._address, timeout=_CONNECT_SECONDS, set_as_default=False)
            except (OSError, TimeoutError):
                time.sleep(_LOOK_SECONDS)
            else:
                return
        place = "of the local cluster" if self._address is None else f"at {self._address}"
        raise ClusterError(
            f"the scheduler {place} is lost; finished results are kept, say the same command again to go on"
        )

    def _has_dashboard(self) -> bool:
        """Whether the scheduler shows one, for which it needs bokeh."""
        if self._address is None:
            return importlib.util.find_spec("bokeh") is not None
        try:
            return bool(self._client.run_on_scheduler(importlib.metadata.version, "bokeh"))
        except Exception:  # noqa: BLE001 - whatever the scheduler answers but a version: no dashboard, nothing else
            return False


@contextmanager
def local_cluster(plan: WorkerPlan) -> Iterator[Cluster]:
    """Workers on this machine, one process each, which end with the context, whatever they are doing then.

    Raises
    ------
    ClusterError
        If the workers can not be started.
    """
    spec = client = None
    with dask.config.set(_LOCAL_SETTINGS), _quiet():
        try:
            try:
                with _interrupts_held():
                    spec = _start(plan)
                    client = Client(spec, timeout=60, set_as_default=False)
            except (OSError, TimeoutError, RuntimeError) as exc:
                raise ClusterError(f"the workers can not be started: {' '.join(str(exc).split())}") from exc
            yield Cluster(client, plan=plan)
        finally:
            if spec is not None:
                _end(spec, client)


@contextmanager
def join_cluster(address: str) -> Iterator[Cluster]:
    """A cluster that runs already; its workers see the same files under the same names.

    Raises
    ------
    UsageError
        If there is no scheduler at the address.
    """
    with _quiet():
        try:
            client = Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
        except (OSError, TimeoutError, ValueError, TypeError) as exc:
            raise UsageError(
                f"--scheduler {address}: no Dask scheduler answers there ({' '.join(str(exc).split())}); "
                "give the address that `dask scheduler` prints, or use --workers N on this machine"
            ) from exc
        cluster = Cluster(client, address=address)
        try:
            yield cluster
        finally:
            cluster.close()


def _start(plan: WorkerPlan) -> SpecCluster:
    dashboard = "127.0.0.1:0" if importlib.util.find_spec("bokeh") is not None else None
    scheduler = {
        "cls": Scheduler,
        # Nobody but this machine reaches it.
        "options": {
            "host": "127.0.0.1",
            "port": 0,
            "dashboard": bool(dashboard),
            "dashboard_address": dashboard or ":0",
        },
    }
    workers = {
        n: {
            "cls": Nanny,
            "options": {
                "host": "127.0.0.1",
                "nthreads": 1,  # jobs at a time; torch's threads are another matter
                "memory_limit": plan.memory_bytes,
                "env": dict(environment),
                "dashboard": False,
                "silence_logs": logging.CRITICAL,
            },
        }
        for n, environment in enumerate(plan.environments)
    }
    return SpecCluster(workers=workers, scheduler=scheduler, silence_logs=logging.CRITICAL)


def _end(spec: SpecCluster, client: Client | None) -> None:
    """End the workers at once: what they hold is on the disk, or worth nothing."""
    for nanny in list(spec.workers.values()):
        nanny.auto_restart = False
        if nanny.pid is not None:
            with suppress(psutil.NoSuchProcess):
                psutil.Process(nanny.pid).kill()
    with suppress(OSError, TimeoutError, RuntimeError):
        if client is not None:
            client.close(timeout=_CLOSE_SECONDS)
    with suppress(OSError, TimeoutError, RuntimeError):
        spec.close(timeout=_CLOSE_SECONDS)


@contextmanager
def _interrupts_held() -> Iterator[None]:
    """Ctrl-C waits inside, and never reaches the processes that are started by threads that are started inside.

    A terminal sends Ctrl-C to all processes of a command at once; this one alone decides what happens then.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


@contextmanager
def _quiet() -> Iterator[None]:
    """Dask's own log, which tells of every lost connection with a traceback, kept off the terminal."""
    logger = logging.getLogger("distributed")
    before = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        logger.setLevel(before)
