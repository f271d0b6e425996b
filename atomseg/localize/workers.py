"""Chunks of columns on several threads: the same chunks, in the same order, whatever the number of threads."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch

Piece = TypeVar("Piece")
Result = TypeVar("Result")

# Chunks keep one thread busy for a millisecond: beyond a few threads, handing them out takes longer.
MOST_WORKERS = 4
# Results that may wait for their turn, a worker: enough that no worker is idle, few enough to stay in the cache.
WAITING = 3


@contextmanager
def fit_workers(device: str) -> Iterator[int]:
    """Torch on one thread inside, as before outside; gives how many threads of one's own to use instead.

    The operations of the fit are small: torch's threads would wait for each other longer than they work, and on a busy
    machine several times longer. A whole chunk of columns is enough work to hand to a thread. An accelerator gets its
    work from one.

    Parameters
    ----------
    device : str
        Where the fit runs, as torch names it.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield min(threads, MOST_WORKERS) if torch.device(device).type == "cpu" else 1
    finally:
        torch.set_num_threads(threads)


def in_order(work: Callable[[Piece], Result], pieces: Sequence[Piece], workers: int) -> Iterator[Result]:
    """``map(work, pieces)`` on several threads; results come in the order of the pieces, and not all at once.

    Parameters
    ----------
    work : callable
        Reads what the pieces share, and changes nothing.
    pieces : sequence
        Its arguments.
    workers : int
        Threads; with one, everything runs in the caller's.
    """
    if workers < 2 or len(pieces) < 2:
        yield from map(work, pieces)
        return
    # How many threads torch's and BLAS' own products use is a setting of each thread: a new one would take all cores,
    # when it is given them, and sum in another order.
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        waiting: deque[Future[Result]] = deque()
        for piece in pieces:
            waiting.append(pool.submit(work, piece))
            if len(waiting) > WAITING * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
