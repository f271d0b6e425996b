"""TIFF of every flavour, through tifffile."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import tifffile

from atomseg.errors import InputError
from atomseg.io.foreign import foreign_reader
from atomseg.io.raw import RawAxis, RawImage
from atomseg.io.tiff_scale import TiffScale, tiff_scale

# Files are refused before memory is claimed for them: no detector makes frames of more than 2^30 pixels, a damaged
# header easily says so.
_LARGEST_PIXELS = 2**30


def read_tiff(path: Path) -> list[RawImage]:
    """All full-resolution series of a TIFF file.

    Raises
    ------
    InputError
        If the file is damaged, cut short, or has pixels of a kind that is not an intensity.
    """
    with foreign_reader("TIFF") as said, tifffile.TiffFile(path) as tif:
        _check_complete(tif, path)
        scale = tiff_scale(tif)
        series = [entry for entry in tif.series if not _is_thumbnail(entry, tif)]
        found = [image for entry in series for image in _split_channels(_read_series(entry, tif, scale))]
    if not found:
        raise InputError("the TIFF file holds no image")
    return [replace(raw, warnings=(*said, *raw.warnings, *scale.warnings)) for raw in found]


def _is_thumbnail(series: "tifffile.TiffPageSeries", tif: "tifffile.TiffFile") -> bool:
    return bool(series.keyframe.is_reduced) and len(tif.series) > 1


def _check_complete(tif: "tifffile.TiffFile", path: Path) -> None:
    """Refuse a file whose pixels lie beyond its end: a reader would fill them with zeros."""
    size = path.stat().st_size
    if not len(tif.pages):
        raise InputError("the TIFF file holds no image; it may be cut short")
    for page in tif.pages:
        ends = [o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=False) if n]
        if ends and max(ends) > size:
            raise InputError(f"is cut short: its pixels reach to byte {max(ends)}, the file has {size}")
        if int(np.prod(page.keyframe.shape[:2])) > _LARGEST_PIXELS:
            raise InputError(f"claims an image of {page.keyframe.shape} pixels; more than 2^30 are not read")


def _read_series(series: "tifffile.TiffPageSeries", tif: "tifffile.TiffFile", scale: TiffScale) -> RawImage:
    data, letters = series.asarray(), series.axes
    if data.ndim != len(letters):
        raise InputError(f"the TIFF describes axes {letters}, its data have shape {data.shape}")
    data, letters, notes = _resolve_colours(data, letters, series.keyframe, tif)
    order = _image_axes_last(letters)
    data = np.transpose(data, order)
    letters = "".join(letters[i] for i in order)
    channels = letters.endswith("S")
    names = letters[:-1] if channels else letters
    axes = [RawAxis(size, name=name) for size, name in zip(data.shape, names, strict=False)]
    if "Y" in names and "X" in names:
        axes[-2] = RawAxis(axes[-2].size, scale.y, scale.unit, "y")
        axes[-1] = RawAxis(axes[-1].size, scale.x, scale.unit, "x")
    facts = {"format": "TIFF", **({"pixel_size_from": scale.source} if scale.source else {})}
    software = series.keyframe.tags.valueof("Software")
    if isinstance(software, str) and software.strip():
        facts["software"] = software.strip()
    return RawImage(data, tuple(axes), has_channels=channels, title=series.name, metadata=facts, warnings=notes)


def _split_channels(raw: RawImage) -> list[RawImage]:
    """One data set a channel: detectors (HAADF, BF) are no frames of one series, and are never averaged."""
    names = [axis.name for axis in raw.axes]
    if "C" not in names or raw.axes[names.index("C")].size == 1:
        return [raw]
    where = names.index("C")
    axes = raw.axes[:where] + raw.axes[where + 1 :]
    planes = np.moveaxis(raw.data, where, 0)
    return [replace(raw, data=plane, axes=axes, title=f"channel {i}") for i, plane in enumerate(planes)]


def _image_axes_last(letters: str) -> list[int]:
    """Order of axes that puts everything else first, then Y, X and the colour samples."""
    tail = [letters.index(name) for name in "YXS" if name in letters]
    return [i for i in range(len(letters)) if i not in tail] + tail


def _resolve_colours(
    data: np.ndarray, letters: str, page: "tifffile.TiffPage", tif: "tifffile.TiffFile"
) -> tuple[np.ndarray, str, tuple[str, ...]]:
    """Palettes looked up, inverted scales turned over, so that more signal is a larger number."""
    if page.photometric == tifffile.PHOTOMETRIC.MINISWHITE and data.dtype.kind == "u":
        return np.iinfo(data.dtype).max - data, letters, ("grey scale is stored inverted (white is zero): turned over",)
    if page.photometric != tifffile.PHOTOMETRIC.PALETTE or page.colormap is None:
        return data, letters, ()
    table = np.asarray(page.colormap, dtype=np.uint16)
    if np.ptp(table.astype(np.int64), axis=0).max() <= 0.02 * 65535:
        # Palettes hold 8-bit greys times 257; a straight ramp keeps the indices, others (inverted, gamma) do not.
        ramp = np.arange(table.shape[1]) * (65535 / (table.shape[1] - 1))
        straight = bool(np.abs(table[0] - ramp).max() <= 0.01 * 65535)
        return (data, letters, ()) if straight else ((table[0] >> 8).astype(np.uint8)[data], letters, ())
    if tif.is_imagej:
        return data, letters, ("a colour table is stored with the image: ignored, its indices are the intensities",)
    return np.moveaxis((table >> 8).astype(np.uint8)[:, data], 0, -1), letters + "S", ()
