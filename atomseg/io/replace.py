"""Single files that are there whole or not at all."""

import os
from collections.abc import Mapping
from pathlib import Path

from atomseg.errors import OutputError


def replace_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files by name, each replaced in one step; an older one stays until the new one is complete.

    Raises
    ------
    OutputError
        If a file can not be written.
    """
    for name, content in contents.items():
        temporary = folder / f".{name}.{os.getpid()}"
        try:
            temporary.write_bytes(content)
            temporary.replace(folder / name)
        except OSError as exc:
            raise OutputError(f"{folder / name} can not be written: {exc.strerror or exc}") from exc
        finally:
            temporary.unlink(missing_ok=True)
