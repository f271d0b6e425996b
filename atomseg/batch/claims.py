"""Who works on which result folder: a claim a folder, given up by the operating system when its owner dies.

A claim is a file in ``OUT/.atomseg`` that its owner holds locked (``flock``). The kernel frees the lock of a process
that ends, however it ends, so there is no stale claim to judge by its age; NFS carries the lock from host to host. On a
file system without locks nothing is claimed: two runs may then do the same work twice; results still appear whole.
"""

import errno
import hashlib
import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from atomseg.errors import OutputError
from atomseg.io.atomic import clear_leftovers

if sys.platform != "win32":
    import fcntl

# Folder below the output folder for claims; it is gone when no run is going on.
CLAIMS = ".atomseg"
_TABLE_LOCK = "table.lock"
# What a file system without locks answers.
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL})
_HELD = frozenset({errno.EACCES, errno.EAGAIN, errno.EWOULDBLOCK})


@contextmanager
def claimed(output: Path, folder: str) -> Iterator[bool]:
    """Whether this process may work on a result folder inside; False while another one does.

    What a killed owner left half-written there is removed first.

    Parameters
    ----------
    output : pathlib.Path
        Output folder.
    folder : str
        Result folder, relative to it.

    Raises
    ------
    OutputError
        If the claim can not be written.
    """
    path = _claim_path(output, folder)
    orphan = path.exists()
    owner = {"folder": folder, "host": platform.node(), "pid": os.getpid()}
    with _locked(path, wait=False, content=json.dumps(owner)) as (mine, safe):
        if mine and safe and orphan:
            clear_leftovers(output / folder)
        yield mine


@contextmanager
def table_lock(output: Path) -> Iterator[None]:
    """One process at a time inside, of all that write the table of `output`."""
    with _locked(output / CLAIMS / _TABLE_LOCK, wait=True, content=""):
        yield


def sweep(output: Path) -> None:
    """Remove claims, and half-written results, of processes that are gone; what cannot be removed stays."""
    with suppress(OSError, OutputError):
        for path in sorted((output / CLAIMS).glob("*.claim")):
            with suppress(OSError, ValueError, KeyError):
                folder = json.loads(path.read_text(encoding="utf-8"))["folder"]
                with claimed(output, folder):
                    pass  # taking the claim of a dead owner tidies up, and giving it back removes it
        _remove_empty(output / CLAIMS)


def _claim_path(output: Path, folder: str) -> Path:
    return output / CLAIMS / f"{hashlib.sha256(folder.encode()).hexdigest()[:24]}.claim"


@contextmanager
def _locked(path: Path, *, wait: bool, content: str) -> Iterator[tuple[bool, bool]]:
    """(whether the lock is ours, whether it excludes others) on a file that exists only while it is locked."""
    try:
        handle, safe = _lock(path, wait=wait)
    except OSError as exc:
        raise OutputError(f"{path.parent} can not be written: {exc.strerror or exc}") from exc
    if handle is None:
        yield False, True
        return
    try:
        if safe and content:
            with suppress(OSError):  # a full disk: the content only helps to tidy up after a killed owner
                os.ftruncate(handle, 0)
                os.write(handle, content.encode())
        yield True, safe
    finally:
        # Removed while it is still locked: whoever waits for it finds that the file is another one, and tries again.
        with suppress(OSError):
            path.unlink()
        os.close(handle)
        _remove_empty(path.parent)


def _lock(path: Path, *, wait: bool) -> tuple[int | None, bool]:
    """Descriptor of the locked file, or None when another process has it; and whether the lock excludes others."""
    while True:
        try:
            with suppress(FileExistsError):  # removed, empty, while pathlib looked at what was in its way
                path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        except FileNotFoundError:
            continue  # its folder was removed, empty, in between
        try:
            if sys.platform == "win32":
                return handle, False
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except OSError as exc:
            if exc.errno in _NO_LOCKS:
                return handle, False
            os.close(handle)
            if exc.errno in _HELD and not wait:
                return None, True
            raise
        except BaseException:
            os.close(handle)
            raise
        if _is_at(handle, path):
            return handle, True
        os.close(handle)  # its owner removed it between opening and locking


def _is_at(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _remove_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()
