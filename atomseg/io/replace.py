"""Single files that are there whole or not at all."""

import os
import uuid
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from atomseg.errors import OutputError


def replace_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files by name, each as `replace_file` does.

    Raises
    ------
    OutputError
        If a file can not be written.
    """
    for name, content in contents.items():
        replace_file(folder / name, content)


def replace_file(path: Path, content: bytes) -> None:
    """Write a file in one step: an older one stays until the new one is complete and on the disk.

    Written beside its place as ``.<name>.<random>`` and then renamed: other processes may do the same at the same time.

    Raises
    ------
    OutputError
        If it can not be written.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}")
    try:
        temporary.write_bytes(content)
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())  # the new name must not reach the disk before the content
        temporary.replace(path)
    except OSError as exc:
        raise OutputError(f"{path} can not be written: {exc.strerror or exc}") from exc
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
