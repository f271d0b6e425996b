"""How a command ends: one line and an exit code, never a traceback for what a user can act on."""

import functools
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import ParamSpec

import typer

from atomseg.errors import AtomsegError, ConfigError, UsageError

EXIT_FAILED = 1
EXIT_USAGE = 2
EXIT_INTERRUPTED = 130  # 128 + SIGINT, as shells count

P = ParamSpec("P")


def one_line_errors(command: Callable[P, None]) -> Callable[P, None]:
    """A command whose errors are one line on stderr, with exit code 2 for bad usage, 1 for failures, 130 for Ctrl-C."""

    @functools.wraps(command)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            with _termination_unwinds():
                command(*args, **kwargs)
        except (UsageError, ConfigError) as exc:
            _leave(exc, EXIT_USAGE)
        except (AtomsegError, OSError) as exc:
            _leave(exc, EXIT_FAILED)
        except KeyboardInterrupt:
            typer.echo("interrupted; finished results are kept, say the same command again to go on", err=True)
            raise typer.Exit(EXIT_INTERRUPTED) from None

    return wrapped


def _leave(exc: Exception, code: int) -> None:
    text = " ".join(str(exc).split()) or type(exc).__name__
    typer.echo(f"error: {text}", err=True)
    raise typer.Exit(code) from None


@contextmanager
def _termination_unwinds() -> Iterator[None]:
    """Let SIGTERM, which ends a job on a cluster, unwind as Ctrl-C does, so that nothing is left half-written."""

    def interrupt(_signum: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    try:
        previous = signal.signal(signal.SIGTERM, interrupt)
    except ValueError:  # not the main thread, e.g. under a test runner or a server
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)


def progress_is_useful() -> bool:
    """Whether anybody watches: a bar in a log file is noise."""
    return sys.stderr.isatty()
