"""Microscope formats through RosettaSciIO, and HyperSpy signals."""

import importlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from atomseg.errors import InputError
from atomseg.io.foreign import foreign_reader
from atomseg.io.raw import RawAxis, RawImage

# Where a person finds what in the metadata tree that RosettaSciIO and HyperSpy share.
_FACTS = {
    "title": ("General", "title"),
    "date": ("General", "date"),
    "time": ("General", "time"),
    "signal_type": ("Signal", "signal_type"),
    "quantity": ("Signal", "quantity"),
    "beam_energy_kv": ("Acquisition_instrument", "TEM", "beam_energy"),
    "microscope": ("Acquisition_instrument", "TEM", "microscope"),
    "mode": ("Acquisition_instrument", "TEM", "acquisition_mode"),
    "magnification": ("Acquisition_instrument", "TEM", "magnification"),
    "camera_length_mm": ("Acquisition_instrument", "TEM", "camera_length"),
}

_MRC_PIXEL_BYTES = {0: 1, 1: 2, 2: 4, 4: 8, 6: 2, 12: 2}  # by mode, https://www.ccpem.ac.uk/mrc_format/mrc2014.php


def read_with_rosettasciio(path: Path, reader: str, kind: str, options: Mapping[str, object]) -> list[RawImage]:
    """All data sets of a file.

    Parameters
    ----------
    path : pathlib.Path
        The file.
    reader : str
        Module below ``rsciio`` that reads it.
    kind : str
        Name of the format for messages.
    options : mapping
        Keyword arguments of the reader.

    Raises
    ------
    InputError
        If the reader fails.
    """
    with foreign_reader(kind) as said:
        module = importlib.import_module(f"rsciio.{reader}")
        found = module.file_reader(str(path), **options)
        raws = [_from_dictionary(entry) for entry in found]
    return [replace(raw, warnings=raw.warnings + tuple(said)) for raw in raws]


def read_mrc(path: Path) -> list[RawImage]:
    """MRC images or stacks of either byte order.

    The machine stamp decides the byte order; the reader applies it to the header only, so pixels are swapped here. A
    pixel of exactly 1 Å (or none) is what programs write when they do not know the size, and is taken as missing.
    """
    with path.open("rb") as stream:
        header = stream.read(1024)
    big_endian = header[212:213] == b"\x11"
    _check_mrc_size(header, path.stat().st_size, big_endian)
    raws = read_with_rosettasciio(path, "mrc", "MRC", {"endianness": ">" if big_endian else "<", "metadata_file": None})
    return [_mrc_image(raw, big_endian) for raw in raws]


def _check_mrc_size(header: bytes, size: int, big_endian: bool) -> None:
    """Refuse a damaged or shortened MRC before the reader maps it into memory.

    Raises
    ------
    InputError
        If the header is incomplete or absurd, or the file is shorter than it says.
    """
    if len(header) < 1024:
        raise InputError(f"is cut short: an MRC file begins with 1024 bytes of header, this one has {len(header)}")
    words = np.frombuffer(header, dtype=">u4" if big_endian else "<u4")
    nx, ny, nz, mode = (int(word) for word in words[:4])
    bytes_per_pixel = _MRC_PIXEL_BYTES.get(mode)
    if bytes_per_pixel is None:
        raise InputError(f"has MRC mode {mode}; allowed are {', '.join(map(str, _MRC_PIXEL_BYTES))}: it may be damaged")
    needed = 1024 + int(words[23]) + nx * ny * nz * bytes_per_pixel
    if not nx * ny * nz > 0 or needed > size:
        raise InputError(f"is cut short or damaged: {nx} x {ny} x {nz} pixels need {needed} bytes, the file has {size}")


def _mrc_image(raw: RawImage, big_endian: bool) -> RawImage:
    data = raw.data.byteswap() if big_endian else raw.data
    y, x = raw.axes[-2:]
    placeholder = all(axis.scale in (None, 0.0, 1.0) or abs(float(axis.scale or 0.0) - 0.1) < 1e-6 for axis in (y, x))
    # The third axis of an MRC is a list of images as often as a depth, and its length is not to be trusted.
    frames = tuple(RawAxis(axis.size) for axis in raw.axes[:-2])
    image = tuple(
        RawAxis(axis.size, None if placeholder else axis.scale, axis.unit or "nm", axis.name) for axis in (y, x)
    )
    return RawImage(data, frames + image, title=raw.title, metadata=raw.metadata, warnings=raw.warnings)


def raw_from_signal(signal: Any) -> RawImage:
    """The data set of a HyperSpy signal (lazy signals are computed)."""
    with foreign_reader("HyperSpy signal") as said:
        manager = signal.axes_manager
        axes = [_axis(_axis_dictionary(axis)) for axis in manager._axes]
        data, channels = _plain_channels(np.asarray(signal.data))
        tree = signal.metadata.as_dictionary()
        raw = RawImage(
            data=data,
            axes=tuple(axes),
            n_signal_axes=int(manager.signal_dimension),
            has_channels=channels,
            title=str(tree.get("General", {}).get("title") or ""),
            signal_type=str(tree.get("Signal", {}).get("signal_type") or ""),
            metadata=_facts(tree),
        )
    return replace(raw, warnings=tuple(said))


def _axis_dictionary(axis: Any) -> dict[str, object]:
    return {
        "size": axis.size,
        "scale": getattr(axis, "scale", None),
        "units": axis.units if isinstance(axis.units, str) else None,
        "name": axis.name if isinstance(axis.name, str) else None,
    }


def _from_dictionary(entry: Mapping[str, Any]) -> RawImage:
    data, channels = _plain_channels(np.asarray(entry["data"]))
    axes = [_axis(axis) for axis in entry["axes"]]
    if len(axes) != data.ndim - int(channels):
        raise InputError(f"the file describes {len(axes)} axes, its data have {data.ndim}")
    tree = entry.get("metadata") or {}
    navigate = [bool(axis.get("navigate", False)) for axis in entry["axes"]]
    signal_type = str(tree.get("Signal", {}).get("signal_type") or "")
    return RawImage(
        data=data,
        axes=tuple(axes),
        n_signal_axes=len(axes) - sum(navigate),
        has_channels=channels,
        title=str(tree.get("General", {}).get("title") or ""),
        signal_type=signal_type,
        metadata=_mapped_facts(entry) | _facts(tree),
    )


def _plain_channels(data: np.ndarray) -> tuple[np.ndarray, bool]:
    """Structured RGB(A) pixels as a last axis of channels."""
    names = data.dtype.names
    if not names:
        return data, False
    return np.stack([data[name] for name in names], axis=-1), True


def _axis(axis: Mapping[str, Any]) -> RawAxis:
    scale = axis.get("scale")
    unit = axis.get("units")
    return RawAxis(
        size=int(axis["size"]),
        scale=float(scale) if isinstance(scale, int | float | np.number) else None,
        unit=unit.strip() if isinstance(unit, str) and unit != "<undefined>" else "",
        name=str(axis.get("name") or ""),
    )


def _facts(tree: Mapping[str, Any]) -> dict[str, str]:
    facts = {}
    for key, way in _FACTS.items():
        value: Any = tree
        for step in way:
            value = value.get(step) if isinstance(value, Mapping) else None
        if isinstance(value, str | int | float | np.number) and str(value).strip():
            facts[key] = str(value)
    return facts


def _mapped_facts(entry: Mapping[str, Any]) -> dict[str, str]:
    """Facts that the reader leaves in the file's own tree, with a table of where they belong."""
    wanted = {".".join(way): key for key, way in _FACTS.items()}
    facts = {}
    for source, target in (entry.get("mapping") or {}).items():
        where, convert = target if isinstance(target, tuple) else (target, None)
        value: Any = entry.get("original_metadata")
        for step in source.split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
        if where not in wanted or value is None:
            continue
        try:
            facts[wanted[where]] = str(convert(value) if convert else value)
        except (ValueError, TypeError, KeyError, AttributeError):
            continue  # an unusual record costs the fact, not the image
    return {key: text for key, text in facts.items() if text.strip() and text != "None"}
