"""Pixel size of a TIFF: where the many programs that write TIFF hide it."""

import math
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable
from dataclasses import dataclass

import tifffile

from atomseg.errors import CalibrationError
from atomseg.types.calibration import LARGEST_PIXEL_NM, SMALLEST_PIXEL_NM
from atomseg.units import length_to_nm

_NM_PER_RESOLUTION_UNIT = {2: 2.54e7, 3: 1e7, 4: 1e6, 5: 1e3}  # inch, cm, and the private mm and µm
_GATAN_TAGS = {"unit": (65003, 65004), "scale": (65009, 65010)}  # (x, y), as DigitalMicrograph exports them


@dataclass(frozen=True)
class TiffScale:
    """Pixel size as a TIFF gives it.

    Parameters
    ----------
    y, x : float or None
        Size in `unit`; None when the file does not say.
    unit : str
        Unit of both.
    source : str
        Which part of the file said so.
    warnings : tuple of str
        Numbers that were found and not believed.
    """

    y: float | None = None
    x: float | None = None
    unit: str = ""
    source: str = ""
    warnings: tuple[str, ...] = ()


def tiff_scale(tif: "tifffile.TiffFile") -> TiffScale:
    """Pixel size of the first page, from the most explicit source that has one.

    The order is OME, ImageJ, the microscope makers' own records, and last the resolution tags that every TIFF has,
    most often with a print resolution in them: those count only when they lie in the range of atomic resolution.
    """
    notes: list[str] = []
    readers: tuple[tuple[str, Callable[[tifffile.TiffFile], TiffScale | None]], ...] = (
        ("OME", _from_ome),
        ("ImageJ", _from_imagej),
        ("FEI", _from_fei),
        ("Gatan", _from_gatan),
        ("SIS", _from_sis),
    )
    for name, reader in readers:
        try:
            found = reader(tif)
        except (CalibrationError, ValueError, KeyError, TypeError, AttributeError, IndexError, ET.ParseError) as exc:
            notes.append(f"{name} calibration in the file can not be used ({exc})")
            continue
        if found is not None:
            return TiffScale(found.y, found.x, found.unit, name, tuple(notes))
    found = _from_resolution_tags(tif)
    return TiffScale(found.y, found.x, found.unit, found.source, tuple(notes) + found.warnings)


def _positive(value: object) -> float | None:
    number = abs(float(value)) if isinstance(value, int | float | str) else math.nan
    return number if math.isfinite(number) and number > 0 else None


def _from_ome(tif: "tifffile.TiffFile") -> TiffScale | None:
    if not tif.is_ome or not tif.ome_metadata:
        return None
    root = ET.fromstring(tif.ome_metadata)
    pixels = next((node for node in root.iter() if node.tag.rpartition("}")[2] == "Pixels"), None)
    if pixels is None:
        return None
    sizes = []
    for axis in "YX":
        value = _positive(pixels.get(f"PhysicalSize{axis}", "nan"))
        unit = pixels.get(f"PhysicalSize{axis}Unit", "µm")  # the default of the OME schema
        if value is None or unit.casefold() in ("pixel", "reference frame"):
            return None
        sizes.append(length_to_nm(value, unit))
    return TiffScale(sizes[0], sizes[1], "nm")


def _unescaped(unit: str) -> str:
    r"""Units as ImageJ writes them, with ``\u00B5`` for letters that ASCII lacks."""
    return re.sub(r"\\u([0-9A-Fa-f]{4})", lambda match: chr(int(match[1], 16)), unit).strip().strip("\x00")


def _from_imagej(tif: "tifffile.TiffFile") -> TiffScale | None:
    about = tif.imagej_metadata or {}
    unit_x = _unescaped(str(about.get("unit", "")))
    unit_y = _unescaped(str(about.get("yunit", unit_x)))
    if not tif.is_imagej or unit_x.casefold() in ("", "pixel", "pixels", "inch", "in"):
        return None
    density = _densities(tif)
    if density is None:
        return None
    y, x = length_to_nm(1.0 / density[0], unit_y), length_to_nm(1.0 / density[1], unit_x)
    return TiffScale(y, x, "nm")


def _from_fei(tif: "tifffile.TiffFile") -> TiffScale | None:
    about = tif.fei_metadata
    scan = about.get("Scan", {}) if about else {}
    y, x = _positive(scan.get("PixelHeight")), _positive(scan.get("PixelWidth"))
    return TiffScale(length_to_nm(y, "m"), length_to_nm(x, "m"), "nm") if y and x else None


def _from_gatan(tif: "tifffile.TiffFile") -> TiffScale | None:
    tags = tif.pages.first.tags
    units = [str(tags.valueof(code, default="") or "").replace("\x00", "").strip() for code in _GATAN_TAGS["unit"]]
    x, y = (_positive(tags.valueof(code, default=math.nan)) for code in _GATAN_TAGS["scale"])
    if not all(units) or x is None or y is None:
        return None
    return TiffScale(length_to_nm(y, units[1]), length_to_nm(x, units[0]), "nm")


def _from_sis(tif: "tifffile.TiffFile") -> TiffScale | None:
    about = tif.sis_metadata
    if not about:
        return None
    y, x = _positive(about.get("pixelsizey")), _positive(about.get("pixelsizex"))
    return TiffScale(length_to_nm(y, "m"), length_to_nm(x, "m"), "nm") if y and x else None


def _densities(tif: "tifffile.TiffFile") -> tuple[float, float] | None:
    """(y, x) pixels per resolution unit of the first page."""
    values = []
    for name in ("YResolution", "XResolution"):
        pair = tif.pages.first.tags.valueof(name)
        if not (isinstance(pair, tuple) and len(pair) == 2 and pair[0] > 0 and pair[1] > 0):
            return None
        values.append(pair[0] / pair[1])
    return values[0], values[1]


def _from_resolution_tags(tif: "tifffile.TiffFile") -> TiffScale:
    density = _densities(tif)
    code = tif.pages.first.tags.valueof("ResolutionUnit", default=2)
    unit_nm = _NM_PER_RESOLUTION_UNIT.get(int(code) if isinstance(code, int) else 0)
    if density is None or unit_nm is None:
        return TiffScale()
    y, x = unit_nm / density[0], unit_nm / density[1]
    if all(SMALLEST_PIXEL_NM <= size <= LARGEST_PIXEL_NM for size in (y, x)):
        return TiffScale(y, x, "nm", "resolution tags")
    dpi = 2.54e7 / x
    return TiffScale(warnings=(f"the resolution tag of the TIFF ({dpi:.4g} dpi) is no atomic pixel size: ignored",))
