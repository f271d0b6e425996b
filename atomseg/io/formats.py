"""Which file is read by what: suffixes, and the first bytes that must agree with them."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from atomseg.errors import InputError
from atomseg.io.picture import read_picture
from atomseg.io.raw import RawImage
from atomseg.io.rosetta import read_mrc, read_with_rosettasciio
from atomseg.io.velox import has_spectrum_images, read_velox_images

_MAGIC = (
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"II+\x00", "TIFF"),
    (b"MM\x00+", "TIFF"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89HDF\r\n\x1a\n", "HDF5"),
    (b"\x00\x00\x00\x03", "DigitalMicrograph"),
    (b"\x00\x00\x00\x04", "DigitalMicrograph"),
    (b"II\x97\x01", "TIA"),
    (b"PK\x03\x04", "ZIP"),
    (b"%PDF", "PDF"),
    (b"GIF8", "GIF"),
    (b"BM", "BMP"),
)


@dataclass(frozen=True)
class _Format:
    name: str
    content: str | None  # what the first bytes must say; None where the format has no mark
    read: Callable[[Path], list[RawImage]]


def _read_tiff(path: Path) -> list[RawImage]:
    from atomseg.io.tiff import read_tiff

    return read_tiff(path)


def _read_dm(path: Path) -> list[RawImage]:
    return read_with_rosettasciio(path, "digitalmicrograph", "DigitalMicrograph", {})


def _read_emd(path: Path) -> list[RawImage]:
    if has_spectrum_images(path):
        return read_velox_images(path)
    return read_with_rosettasciio(path, "emd", "EMD", {"select_type": "images"})


def _read_ser(path: Path) -> list[RawImage]:
    return read_with_rosettasciio(path, "tia", "TIA", {})


def _read_hspy(path: Path) -> list[RawImage]:
    return read_with_rosettasciio(path, "hspy", "HyperSpy", {})


def _read_zspy(path: Path) -> list[RawImage]:
    return read_with_rosettasciio(path, "zspy", "HyperSpy zspy", {})


def _read_png(path: Path) -> list[RawImage]:
    return read_picture(path, "PNG")


def _read_jpeg(path: Path) -> list[RawImage]:
    return read_picture(path, "JPEG")


_TIFF, _JPEG = _Format("TIFF", "TIFF", _read_tiff), _Format("JPEG", "JPEG", _read_jpeg)
_DM = _Format("DigitalMicrograph", "DigitalMicrograph", _read_dm)
_FORMATS = {
    ".dm3": _DM,
    ".dm4": _DM,
    ".emd": _Format("EMD", "HDF5", _read_emd),
    ".ser": _Format("TIA", "TIA", _read_ser),
    ".mrc": _Format("MRC", None, read_mrc),
    ".hspy": _Format("HyperSpy", "HDF5", _read_hspy),
    ".zspy": _Format("HyperSpy zspy", "ZIP", _read_zspy),
    ".tif": _TIFF,
    ".tiff": _TIFF,
    ".png": _Format("PNG", "PNG", _read_png),
    ".jpg": _JPEG,
    ".jpeg": _JPEG,
}
MICROGRAPH_SUFFIXES = tuple(_FORMATS)


def read_raw(path: Path) -> list[RawImage]:
    """All data sets of a file, as its suffix and its first bytes say.

    Raises
    ------
    InputError
        If the file is missing, empty, a folder, of an unknown kind, or not what its suffix says.
    """
    form = _checked_format(path)
    return form.read(path)


def _checked_format(path: Path) -> _Format:
    try:
        is_folder = path.is_dir()
        if not path.exists():
            raise InputError("no such file")
        form = _FORMATS.get(path.suffix.casefold())
        if is_folder and form is not _FORMATS[".zspy"]:
            raise InputError("is a folder, not a micrograph")
        if is_folder and form is not None:
            return form
        if path.stat().st_size == 0:
            raise InputError("is empty (0 bytes)")
        with path.open("rb") as stream:
            start = stream.read(16)
    except OSError as exc:
        raise InputError(f"can not be opened ({exc.strerror or exc})") from exc
    seen = next((name for mark, name in _MAGIC if start.startswith(mark)), None)
    if form is None:
        looks = f"; by its first bytes it is {seen}" if seen else ""
        raise InputError(f"suffix {path.suffix!r} is not read{looks}; allowed: {' '.join(MICROGRAPH_SUFFIXES)}")
    _check_content(form, seen)
    return form


def _check_content(form: _Format, seen: str | None) -> None:
    if form.content is None:
        if seen not in (None, "BMP", "DigitalMicrograph"):  # a header of numbers can begin with these by chance
            raise InputError(f"is named as {form.name}, but its content is {seen}; give it the right suffix")
    elif seen != form.content:
        content = f"its content is {seen}; give it the right suffix" if seen else "its content is something else"
        raise InputError(f"is named as {form.name}, but {content}")


def sha256_of(path: Path) -> str:
    """Hash of a file's bytes; of a folder (``.zspy``) the names and bytes of all its files, sorted.

    Raises
    ------
    InputError
        If the file can not be read.
    """
    digest = hashlib.sha256()
    files = sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]
    try:
        for file in files:
            if file != path:
                digest.update(file.relative_to(path).as_posix().encode() + b"\x00")
            with file.open("rb") as stream:
                while block := stream.read(2**20):
                    digest.update(block)
    except OSError as exc:
        raise InputError(f"can not be read ({exc.strerror or exc})") from exc
    return digest.hexdigest()
