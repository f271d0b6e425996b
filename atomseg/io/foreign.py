"""A fence around third-party readers: what they raise becomes an InputError, what they say a list of sentences."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from atomseg.errors import CalibrationError, InputError, MissingPixelSizeError

_READER_LOGGERS = ("tifffile", "rsciio", "hyperspy", "PIL", "h5py", "imagecodecs")

# Said by readers about matters that no user of a micrograph can or needs to act on.
_NOISE = ("deprecat", "not calibrated", "shaped series", "will be removed", "unclosed file", "lexsort")


class _Recorder(logging.Handler):
    """Collects log messages instead of printing them."""

    def __init__(self, said: list[str]) -> None:
        super().__init__(level=logging.WARNING)
        self._said = said

    def emit(self, record: logging.LogRecord) -> None:
        self._said.append(record.getMessage())


def first_line(message: object, limit: int = 160) -> str:
    """The first non-empty line of a foreign message, cut to a readable length."""
    lines = [line.strip() for line in str(message).splitlines() if line.strip()]
    line = lines[0] if lines else ""
    return line if len(line) <= limit else line[: limit - 1] + "…"


@contextmanager
def foreign_reader(kind: str) -> Iterator[list[str]]:
    """Run a third-party reader behind a fence.

    Parameters
    ----------
    kind : str
        What the file is being read as, for the error message.

    Yields
    ------
    list of str
        Filled on exit with what the reader warned or logged, noise left out.

    Raises
    ------
    InputError
        Instead of anything that the reader raises, memory errors included.
    """
    said: list[str] = []
    kept: list[str] = []
    handler = _Recorder(said)
    loggers = [logging.getLogger(name) for name in _READER_LOGGERS]
    propagate = [logger.propagate for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.propagate = False
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            yield kept
        said += [str(w.message) for w in caught if not issubclass(w.category, DeprecationWarning | ResourceWarning)]
    except (InputError, CalibrationError):
        raise
    except Exception as exc:  # a damaged file can make a reader raise anything at all
        text = first_line(exc)
        plain = isinstance(exc, OSError | ValueError) and text  # the others only make sense with their name
        cause = text if plain else f"{type(exc).__name__}: {text}"
        raise InputError(f"can not be read as {kind}, it may be damaged or cut short ({cause})") from exc
    finally:
        for logger, before in zip(loggers, propagate, strict=True):
            logger.removeHandler(handler)
            logger.propagate = before
    lines = (first_line(text) for text in said)
    kept += [line for line in dict.fromkeys(lines) if line and not any(word in line.casefold() for word in _NOISE)]


@contextmanager
def about(label: str) -> Iterator[None]:
    """Put the name of the file before the message of an error raised inside."""
    try:
        yield
    except MissingPixelSizeError as exc:
        raise MissingPixelSizeError(f"{label}: {exc}", exc.image) from exc
    except CalibrationError as exc:
        raise CalibrationError(f"{label}: {exc}") from exc
    except InputError as exc:
        raise InputError(f"{label}: {exc}") from (exc.__cause__ or exc)
