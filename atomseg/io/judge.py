"""Whether a data set is a real-space image, and which one of several to take."""

import math
from collections.abc import Sequence

from atomseg.errors import CalibrationError, InputError
from atomseg.io.raw import RawAxis, RawImage
from atomseg.types.calibration import LARGEST_PIXEL_NM
from atomseg.units import length_to_nm

_SPECTRAL_UNITS = ("ev", "kev", "mev")
_RECIPROCAL_MARKS = ("1/", "^-1", "⁻¹", "-1", "mrad", "rad")
_ANGLE_UNITS = ("deg", "degree", "degrees", "°")
SMALLEST_SIDE_PX = 32

_ODD_PIXELS = {  # by numpy's letter for the kind of a dtype
    "c": "has complex pixels (an FFT, a hologram or an exit wave), not intensities",
    "b": "has boolean pixels: a mask, not a micrograph",
}


def why_not_an_image(raw: RawImage) -> str | None:
    """A phrase that says what a data set is when it is no stack of real-space intensity images; None when it is one."""
    kind = raw.data.dtype.kind
    units = [axis.unit.casefold() for axis in raw.axes]
    if raw.signal_type.upper().startswith(("EELS", "EDS", "EDX")) or any(unit in _SPECTRAL_UNITS for unit in units):
        name = raw.signal_type or "energy axis"
        return f"is a spectrum or spectrum image ({name}), not a micrograph"
    if raw.n_signal_axes != 2:
        return f"is a {raw.n_signal_axes}D signal ({raw.describe()}), not an image"
    if any(mark in axis.unit.casefold() for axis in raw.signal_axes for mark in _RECIPROCAL_MARKS):
        return f"is a diffraction pattern or an FFT (axis unit {raw.signal_axes[-1].unit!r}), not a real-space image"
    if kind not in "uif":
        return _ODD_PIXELS.get(kind, f"has pixels of type {raw.data.dtype}, not numbers")
    return _why_not_a_stack(raw)


def _why_not_a_stack(raw: RawImage) -> str | None:
    if len(raw.frame_axes) > 1:
        shape = " x ".join(str(axis.size) for axis in raw.axes)
        return f"is a data set of {len(raw.axes)} dimensions ({shape}; 4D-STEM?), not a stack of frames"
    if raw.data.size == 0:
        return f"has no pixels (shape {raw.data.shape})"
    tilted = [axis for axis in raw.frame_axes if axis.unit.casefold() in _ANGLE_UNITS]
    if tilted:
        coarse = _too_coarse(raw.signal_axes)
        return f"is a tilt series ({tilted[0].size} images over an angle{coarse}), not frames of one view"
    height, width = (axis.size for axis in raw.signal_axes)
    if min(height, width) < SMALLEST_SIDE_PX:
        return f"is {height} x {width} pixels; a micrograph needs at least {SMALLEST_SIDE_PX} x {SMALLEST_SIDE_PX}"
    return None


def _too_coarse(axes: Sequence[RawAxis]) -> str:
    try:
        size = axis_size_nm(axes[-1])
    except CalibrationError:
        return ""
    return f", {size:.3g} nm a pixel" if size is not None and size > LARGEST_PIXEL_NM else ""


def axis_size_nm(axis: RawAxis) -> float | None:
    """Step of an axis in nm; None when the file gives none.

    Raises
    ------
    CalibrationError
        If the unit is not a length.
    """
    if axis.scale is None or not math.isfinite(axis.scale) or axis.scale == 0:
        return None
    if axis.unit.casefold() in ("", "px", "pixel", "pixels", "none"):
        return None
    return abs(length_to_nm(axis.scale, axis.unit))


def choose(raws: Sequence[RawImage], dataset: int | str | None) -> tuple[RawImage, str | None]:
    """The data set to analyse, and a sentence when others were left aside.

    Parameters
    ----------
    raws : sequence of RawImage
        All data sets of the file.
    dataset : int or str or None
        Number (from 0) or title of the one that the user wants; None takes the only real-space image, or the only
        one whose title contains HAADF.

    Raises
    ------
    InputError
        If there is no image, or several and nothing says which, or the one that was asked for is not there or no image.
    """
    if not raws:
        raise InputError("holds no image")
    if dataset is not None:
        raw = _asked_for(raws, dataset)
        reason = why_not_an_image(raw)
        if reason:
            raise InputError(f"data set {dataset} {reason}")
        return raw, None
    reasons = [why_not_an_image(raw) for raw in raws]
    images = [raw for raw, reason in zip(raws, reasons, strict=True) if reason is None]
    if len(images) == 1:
        return images[0], None
    if not images and len(raws) == 1:
        raise InputError(str(reasons[0]))
    if not images:
        listed = "; ".join(f"{i}: {reason}" for i, reason in enumerate(reasons))
        raise InputError(f"none of its {len(raws)} data sets is a micrograph: {listed}")
    haadf = [raw for raw in images if "haadf" in raw.title.casefold()]
    if len(haadf) == 1:
        return haadf[
            0
        ], f"took {haadf[0].title!r}, the only HAADF image of {len(images)} images in the file: {_list(raws)}"
    raise InputError(
        f"holds {len(images)} images ({_list(raws)}); "
        f"say which one by its number or title: FILE::{raws.index(images[0])}"
    )


def _list(raws: Sequence[RawImage]) -> str:
    return "; ".join(f"{i}: {raw.describe()}" for i, raw in enumerate(raws))


def _asked_for(raws: Sequence[RawImage], dataset: int | str) -> RawImage:
    text = str(dataset).strip()
    if text.isdecimal() and int(text) < len(raws):
        return raws[int(text)]
    titled = [raw for raw in raws if raw.title.casefold() == text.casefold()]
    if len(titled) == 1:
        return titled[0]
    raise InputError(f"no data set {text!r} in the file, it holds {_list(raws)}")
