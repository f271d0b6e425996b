"""Folders that appear whole or not at all."""

import errno
import hashlib
import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from atomseg.errors import OutputError

_CAUSES = {
    errno.ENOSPC: "the disk is full; free some space and run again",
    errno.EDQUOT: "the disk quota is used up; free some space and run again",
    errno.EACCES: "permission denied; choose a folder that you may write to",
    errno.EPERM: "permission denied; choose a folder that you may write to",
    errno.EROFS: "the file system is read-only; choose another output folder",
    errno.ENOTDIR: "a part of the path is a file; choose another output folder",
    errno.EEXIST: "a part of the path is a file; choose another output folder",
    errno.ENAMETOOLONG: "the name is too long for this file system",
}

_PARTIAL, _OLD = ".partial", ".old"


def clear_leftovers(folder: Path) -> None:
    """Remove what a process that was killed while it wrote `folder` left beside it.

    A result that had moved aside for a new one comes back when the new one never took its place. Only for a caller that
    knows that nobody writes the folder now.
    """
    folder = folder.absolute()
    for path in folder.parent.glob(f"{_prefix(folder)}*"):
        if path.suffix == _OLD and not folder.exists():
            path.rename(folder)
        else:
            shutil.rmtree(path, ignore_errors=True)


def _prefix(folder: Path) -> str:
    # A hash, because the name itself may be as long as names can be.
    return f".atomseg-{hashlib.sha256(folder.name.encode()).hexdigest()[:12]}-"


@contextmanager
def whole_folder(folder: Path, *, overwrite: bool, replaceable: Callable[[Path], bool]) -> Iterator[Path]:
    """A temporary folder to write into, which becomes `folder` at the end.

    It lies beside `folder` (same file system), is flushed to the disk and renamed in one step. When anything goes
    wrong, a full disk or Ctrl-C, it is removed and what was there before is as it was.

    Parameters
    ----------
    folder : pathlib.Path
        The folder to make; its parents are made too.
    overwrite : bool
        Whether a folder with content may be replaced.
    replaceable : callable
        Says of an existing folder whether it is one of atomseg's own; others are never replaced.

    Yields
    ------
    pathlib.Path
        The temporary folder.

    Raises
    ------
    OutputError
        If the folder may not be replaced, or the operating system refuses.
    """
    folder = folder.absolute()
    _check_target(folder, overwrite, replaceable)
    temporary = folder.parent / f"{_prefix(folder)}{uuid.uuid4().hex[:12]}{_PARTIAL}"
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary.mkdir()
        yield temporary
        _flush(temporary)
        _put_in_place(temporary, folder)
    except OSError as exc:
        shutil.rmtree(temporary, ignore_errors=True)
        raise OutputError(f"{folder} can not be written: {_cause(exc)}") from exc
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def _cause(exc: OSError) -> str:
    return _CAUSES.get(exc.errno or 0, exc.strerror or str(exc))


def _check_target(folder: Path, overwrite: bool, replaceable: Callable[[Path], bool]) -> None:
    try:
        if not folder.exists():
            return
        if not folder.is_dir():
            raise OutputError(f"{folder} is a file; give a folder")
        if not any(folder.iterdir()):
            return
        if not overwrite:
            raise OutputError(
                f"{folder} already holds files; give --overwrite (overwrite=True in Python) to replace them, "
                "or another folder"
            )
        if not replaceable(folder):
            raise OutputError(
                f"{folder} holds files that atomseg did not write and is not replaced; give another folder"
            )
    except OSError as exc:
        raise OutputError(f"{folder} can not be looked into: {_cause(exc)}") from exc


def _flush(folder: Path) -> None:
    """Force files and folder entries to the disk: a rename must not become durable before its content."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb+") as stream:
                os.fsync(stream.fileno())
    if os.name == "posix":
        _flush_entry(folder)


def _flush_entry(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _put_in_place(temporary: Path, folder: Path) -> None:
    """Rename; an older result moves aside first and comes back when the rename fails."""
    if not folder.exists():
        temporary.rename(folder)
    else:
        aside = folder.parent / f"{_prefix(folder)}{uuid.uuid4().hex[:12]}{_OLD}"
        folder.rename(aside)
        try:
            temporary.rename(folder)
        except BaseException:
            aside.rename(folder)
            raise
        shutil.rmtree(aside, ignore_errors=True)
    if os.name == "posix":
        _flush_entry(folder.parent)
