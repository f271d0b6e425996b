"""From a file, a HyperSpy signal or an array to a `Micrograph`, or to one line that says why not."""

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from atomseg.errors import CalibrationError, InputError, MissingPixelSizeError
from atomseg.io.blank import find_blank
from atomseg.io.blanked import find_blanked_rows
from atomseg.io.foreign import about
from atomseg.io.formats import read_raw, sha256_of
from atomseg.io.grey import fill_invalid, find_lost_rows, find_spikes, grey, scaled
from atomseg.io.judge import axis_size_nm, choose
from atomseg.io.raw import RawAxis, RawImage
from atomseg.io.rosetta import raw_from_signal
from atomseg.io.screen import is_label_map, window_frame
from atomseg.types import Calibration, CalibrationOrigin, Micrograph
from atomseg.types.calibration import LARGEST_PIXEL_NM, SMALLEST_PIXEL_NM

_PICTURE_RANGE = 127  # half of what eight bits hold; a program that exports pictures stretches them
_DISAGREEMENT = 0.03  # larger than the usual error of a microscope's magnification, smaller than any wrong unit


@dataclass(frozen=True)
class _Source:
    """A chosen data set and where it comes from."""

    raw: RawImage
    label: str
    name: str
    path: str | None
    sha256: str
    warnings: tuple[str, ...]


def read_micrograph(
    source: str | Path | np.ndarray | Any,
    *,
    pixel_size_nm: float | tuple[float, float] | None = None,
    frame: str = "mean",
    name: str | None = None,
    dataset: int | str | None = None,
) -> Micrograph:
    """A micrograph from a file, a HyperSpy signal or an array.

    Parameters
    ----------
    source : str, pathlib.Path, numpy.ndarray or HyperSpy Signal2D
        A file (``FILE::N`` or ``FILE::TITLE`` picks one of several data sets), a signal, or an (H, W) or (N, H, W)
        array.
    pixel_size_nm : float or (float, float), optional
        Pixel size, (y, x) when it differs; goes before what the file says.
    frame : str
        ``mean`` averages a stack, a number picks a frame (from 0).
    name : str, optional
        Short name; by default the file's stem, the signal's title, or ``image``.
    dataset : int or str, optional
        Number or title of the data set in a file that holds several.

    Returns
    -------
    Micrograph
        Raw intensities as float32 with their calibration.

    Raises
    ------
    InputError
        If the source can not be read or is no atomic-resolution image.
    MissingPixelSizeError
        If nobody says how large a pixel is; carries the decoded image.
    CalibrationError
        If `pixel_size_nm` is not one of an atomic-resolution image.
    """
    found = _open(source, name, dataset)
    index = _frame_index(frame, found)
    return _micrograph(found, index, pixel_size_nm, found.name)


def read_frames(
    source: str | Path | np.ndarray | Any,
    *,
    pixel_size_nm: float | tuple[float, float] | None = None,
    name: str | None = None,
    dataset: int | str | None = None,
) -> list[Micrograph]:
    """Every frame of a stack as a micrograph of its own, named ``<stem>_frame000`` and so on.

    A file with a single image gives one micrograph with its plain name. Parameters and errors as for `read_micrograph`.
    """
    found = _open(source, name, dataset)
    if found.raw.n_frames == 1:
        return [_micrograph(found, None, pixel_size_nm, found.name)]
    names = (f"{found.name}_frame{i:03d}" for i in range(found.raw.n_frames))
    return [_micrograph(found, i, pixel_size_nm, frame_name) for i, frame_name in enumerate(names)]


def _open(source: str | Path | np.ndarray | Any, name: str | None, dataset: int | str | None) -> _Source:
    if isinstance(source, str | Path):
        return _open_file(source, name, dataset)
    if isinstance(source, np.ndarray):
        raw, label = _raw_from_array(source), name or "array"
    elif hasattr(source, "axes_manager"):
        with about(name or "HyperSpy signal"):
            raw = raw_from_signal(source)
        label = name or raw.title or "HyperSpy signal"
    else:
        raise InputError(
            f"a {type(source).__name__} can not be read; give a file, a HyperSpy Signal2D or a numpy array"
        )
    with about(label):
        raw, note = choose([raw], None)
    digest = hashlib.sha256(f"{raw.data.dtype.str}{raw.data.shape}".encode())
    digest.update(np.ascontiguousarray(raw.data).ravel().view(np.uint8).data)
    title = name or raw.title or "image"
    return _Source(raw, label, title, None, digest.hexdigest(), (*raw.warnings, *([note] if note else [])))


def _open_file(source: str | Path, name: str | None, dataset: int | str | None) -> _Source:
    path, chosen = _split_dataset(str(source), dataset)
    with about(path.name or str(path)):
        raw, note = choose(read_raw(path), chosen)
        digest = sha256_of(path)
    stem = path.stem if chosen is None else f"{path.stem}_{chosen}"
    # Absolute, so that a result finds its input from any working folder.
    where = str(path.absolute()) if chosen is None else f"{path.absolute()}::{chosen}"
    return _Source(raw, path.name, name or stem, where, digest, (*raw.warnings, *([note] if note else [])))


def _split_dataset(source: str, dataset: int | str | None) -> tuple[Path, int | str | None]:
    """Path and data set of ``FILE::N``; a file that really has ``::`` in its name wins."""
    head, mark, tail = source.rpartition("::")
    if mark and head and not Path(source).exists():
        return Path(head), tail if dataset is None else dataset
    return Path(source), dataset


def _raw_from_array(array: np.ndarray) -> RawImage:
    if array.ndim not in (2, 3):
        raise InputError(
            f"array of shape {array.shape}: allowed are (H, W) and (N, H, W), or (H, W, 3 or 4) of 8-bit RGB"
        )
    channels = array.ndim == 3 and array.shape[-1] in (3, 4) and array.dtype == np.uint8
    axes = tuple(RawAxis(size) for size in (array.shape[:-1] if channels else array.shape))
    return RawImage(array, axes, has_channels=channels)


def _frame_index(frame: str, found: _Source) -> int | None:
    """Index of the frame to take; None for the mean of all."""
    if frame == "mean":
        return None
    n = found.raw.n_frames
    if not str(frame).isdecimal() or int(frame) >= n:
        raise InputError(f"{found.label}: frame {frame!r} does not exist; allowed are mean and 0 to {n - 1}")
    return int(frame)


def _micrograph(
    found: _Source, index: int | None, pixel_size_nm: float | tuple[float, float] | None, name: str
) -> Micrograph:
    with about(found.label):
        image, coloured, notes = _intensities(found.raw, index)
        _refuse_pictures(image, found.raw)
        invalid, marked = _find_invalid(image, coloured, found.raw.data.dtype)
        notes += marked
        image, note = scaled(fill_invalid(image, invalid))
        notes += [note] if note else []
        if float(image.max()) == float(image.min()):
            raise InputError(f"is constant (every pixel is {float(image.max()):g}): there is nothing in it")
        calibration, doubts = _calibrate(found.raw, pixel_size_nm, image)
    single = found.raw.n_frames == 1
    return Micrograph(
        image=image,
        calibration=calibration,
        name=name,
        path=found.path,
        sha256=found.sha256,
        frame="single" if single else ("mean" if index is None else str(index)),
        n_frames=found.raw.n_frames,
        invalid=invalid if invalid.any() else None,
        metadata=dict(found.raw.metadata),
        warnings=(*found.warnings, *notes, *doubts),
    )


def _find_invalid(image: np.ndarray, coloured: np.ndarray, dtype: np.dtype[Any]) -> tuple[np.ndarray, list[str]]:
    """(H, W) bool, pixels that say nothing, and what to tell of them."""
    # Eight bits that are used are a picture, which may have been a JPEG before; small numbers are counts.
    picture = bool(dtype == np.uint8 and float(np.ptp(image)) > _PICTURE_RANGE)
    blank = "blank (one number with a straight outline: a border left by aligning or rotating, a bar, a box)"
    found = {
        "NaN or infinite": ~np.isfinite(image),
        "coloured (annotations), or beside such": coloured,
        blank: find_blank(image) | (picture and find_blank(image, lossy=True)),
        "in scan rows that were lost": find_lost_rows(image),
        "spikes, far beyond the contrast and alone": find_spikes(image),
    }
    hidden = np.logical_or.reduce(list(found.values()))
    found["in scan rows with the beam off"] = blanked = find_blanked_rows(image, hidden)
    told = [
        f"{int(which.sum())} pixels are {what}: filled from their neighbours and marked"
        for what, which in found.items()
        if which.any()
    ]
    return hidden | blanked, told


def _intensities(raw: RawImage, index: int | None) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """One (H, W) float32 plane, the frame that was asked for or the mean of all; what of it is coloured; notes."""
    frames, notes = raw.frames(), []
    chosen = range(raw.n_frames) if index is None else (index,)
    total: np.ndarray | None = None
    coloured = np.zeros(frames.shape[1:3], dtype=bool)
    for i in chosen:
        plane = frames[i]
        if raw.has_channels:
            plane, hidden = grey(plane)
            coloured |= hidden
        if total is None:
            # A sum needs more digits than a single frame has.
            total = plane if len(chosen) == 1 else plane.astype(np.float64)
        else:
            total += plane
    if total is None:
        raise InputError("holds no frame")
    if len(chosen) > 1:
        notes.append(
            f"{len(chosen)} frames were averaged as they are, without aligning them: align a drifting series first"
        )
        total /= len(chosen)
    with np.errstate(over="ignore"):  # what float32 can not hold becomes infinite, and is marked as invalid
        return total.astype(np.float32), coloured, notes


def _refuse_pictures(image: np.ndarray, raw: RawImage) -> None:
    if raw.data.dtype != np.uint8:
        return
    if is_label_map(image):
        raise InputError("is a map of a few labels (a mask or a segmentation), not a micrograph")
    frame = window_frame(image)
    if frame:
        raise InputError(
            f"is a screen grab or a figure ({frame}), not a micrograph; export the image itself from its program"
        )


def _calibrate(
    raw: RawImage, pixel_size_nm: float | tuple[float, float] | None, image: np.ndarray
) -> tuple[Calibration, list[str]]:
    """Pixel size with its origin: the user's before the file's.

    Raises
    ------
    InputError
        If the file's own pixel size is not one of atomic resolution and the user gave none.
    MissingPixelSizeError
        If there is none at all.
    """
    axis_y, axis_x = raw.signal_axes
    notes: list[str] = []
    try:
        stated = (axis_size_nm(axis_y), axis_size_nm(axis_x))
    except CalibrationError as exc:
        stated, notes = (None, None), [f"the axes are not calibrated as lengths: {exc}"]
    known = (stated[0] or stated[1], stated[1] or stated[0])
    if pixel_size_nm is not None:
        user = Calibration(_pair(pixel_size_nm), CalibrationOrigin.USER)
        return user, notes + _disagreement(user.pixel_size_nm, known)
    if known[0] is None or known[1] is None:
        raise MissingPixelSizeError(_missing_message(axis_x, (*raw.warnings, *notes)), image)
    # Twelve digits: no file knows more, and 1 / (1 / 0.021) reads as 0.021 again.
    size = (float(f"{known[0]:.12g}"), float(f"{known[1]:.12g}"))
    if not all(SMALLEST_PIXEL_NM <= value <= LARGEST_PIXEL_NM for value in size):
        raise InputError(
            f"its pixels are {size[0]:.4g} x {size[1]:.4g} nm (y, x) by the file's metadata: no atomic resolution, "
            f"allowed are {SMALLEST_PIXEL_NM:g} to {LARGEST_PIXEL_NM:g} nm; if the file is wrong give "
            "--pixel-size-nm (pixel_size_nm= in Python)"
        )
    return Calibration(size, CalibrationOrigin.METADATA), notes


def _pair(pixel_size_nm: float | tuple[float, float]) -> tuple[float, float]:
    values = pixel_size_nm if isinstance(pixel_size_nm, tuple | list) else (pixel_size_nm, pixel_size_nm)
    try:
        sizes = tuple(float(value) for value in values)
    except (TypeError, ValueError) as exc:
        raise CalibrationError(f"pixel size {pixel_size_nm!r} is not a number of nm") from exc
    if len(sizes) != 2 or not all(math.isfinite(value) for value in sizes):
        raise CalibrationError(f"pixel size {pixel_size_nm!r}: give one number of nm, or two (y, x)")
    return sizes[0], sizes[1]


def _disagreement(user: tuple[float, float], stated: tuple[float | None, float | None]) -> list[str]:
    pairs = [(mine, theirs) for mine, theirs in zip(user, stated, strict=True) if theirs is not None]
    if not any(abs(mine / theirs - 1) > _DISAGREEMENT for mine, theirs in pairs):
        return []
    mine, theirs = (" x ".join(f"{value:.6g}" for value in values) for values in zip(*pairs, strict=True))
    return [f"pixel size {mine} nm (y, x; given by the user) differs from the file's {theirs} nm: the user's is used"]


def _missing_message(axis: RawAxis, notes: tuple[str, ...]) -> str:
    seen = f"axis unit {axis.unit!r}" if axis.unit else "no unit"
    if axis.scale is not None and axis.scale not in (0.0, 1.0):
        seen = f"a scale of {axis.scale:.6g} with {seen}"
    seen = "; ".join([f"{seen} in the file", *(note for note in notes if "calibrat" in note or "pixel size" in note)])
    return (
        f"pixel size missing ({seen}); give it with --pixel-size-nm (pixel_size_nm= in Python), or calibrate the file"
    )
