"""The pictures that a page shows on top of each other, as small files inside the page."""

import base64
import io
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from atomseg.imaging import block_means
from atomseg.report.style import PHASE_COLORS
from atomseg.types import AnalysisRecord, Phase

# Pixels a side: a screen shows no more of the whole, and a column stays a spot of several pixels when one zooms in.
BASE_PX = 2048
# Maps vary over nanometres, so they need fewer.
MAP_PX = 1024
_JPEG_QUALITY = 82
# One value of the palette stands for "unknown".
_COLORS = 255
_STOPS = 9

Bounds = tuple[float, float] | None


@dataclass(frozen=True)
class Layer:
    """One picture of a micrograph.

    Parameters
    ----------
    key : str
        Name in the page; for maps beside the record the stem of their file.
    label : str
        Name for people.
    role : str
        ``base``, one of which is seen at a time, or ``map``, drawn over it.
    array : callable
        The (H, W) array in a record, or None where there is none.
    unit : str
        Unit of the values.
    colors : str
        Matplotlib's name of the colours; ``phases`` for phase codes.
    bounds : tuple of float, optional
        Values at the two ends of the colours; None takes the 1st and the 99th percentile.
    centred : bool
        Colours that meet at zero: the bounds are made symmetric.
    factor : int
        From the array's unit to the layer's.
    """

    key: str
    label: str
    role: Literal["base", "map"]
    array: Callable[[AnalysisRecord], np.ndarray | None]
    unit: str = ""
    colors: str = "gray"
    bounds: Bounds = None
    centred: bool = False
    factor: int = 1


def _beside(_record: AnalysisRecord) -> None:
    """Maps that the caller hands over beside the record."""


def _plane(name: str) -> Callable[[AnalysisRecord], np.ndarray | None]:
    """How to take one of the lattice maps from a record."""
    return lambda record: None if record.lattice is None else record.lattice.planes()[name]


def _confidence(record: AnalysisRecord) -> np.ndarray:
    """Confidence where there is a phase: elsewhere it is 1 by definition and says nothing."""
    return np.where(record.phases.labels == Phase.NONE, np.nan, record.phases.confidence)


# In the order of the page's menus. A layer without an array is left out, so more can be named than there are.
LAYERS: tuple[Layer, ...] = (
    Layer("raw", "raw image", "base", lambda record: record.micrograph.image),
    Layer("restored", "restored image", "base", lambda record: record.restored),
    Layer("phases", "phases", "map", lambda record: record.phases.labels, colors="phases"),
    Layer("confidence", "confidence of the phase", "map", _confidence, "", "cividis", (0.5, 1)),
    Layer("occupancy", "interlayer occupancy", "map", lambda record: record.phases.occupancy, "", "cividis", (0, 1)),
    Layer("depth", "depth below the surface", "map", lambda record: record.thickness.depth_nm, "nm", "viridis"),
    Layer("spacing", "layer spacing", "map", _plane("spacing"), "nm", "cividis"),
    Layer("strain_cc", "strain across the layers", "map", _plane("strain_cc"), "%", "RdBu_r", centred=True, factor=100),
    Layer("strain_ip", "strain along the rows", "map", _plane("strain_ip"), "%", "RdBu_r", centred=True, factor=100),
    Layer("shear", "shear between the layers", "map", _plane("shear"), "%", "RdBu_r", centred=True, factor=100),
    Layer("rotation", "lattice rotation", "map", _plane("rotation"), "°", "PuOr_r", centred=True),
    Layer("occupancy_err", "error of the occupancy", "map", _plane("occupancy_err"), "", "viridis"),
)


def page_layers(
    record: AnalysisRecord, maps: Mapping[str, np.ndarray], layers: Sequence[Layer] = LAYERS
) -> list[dict[str, Any]]:
    """Layers as the page's script takes them: name, picture, place in nm, colours and their values.

    Parameters
    ----------
    record : AnalysisRecord
        The result.
    maps : mapping of str to numpy.ndarray
        Further (H, W) maps on the input's pixel grid by layer key; keys that no layer has are shown under their own
        name.
    layers : sequence of Layer
        What to look for.
    """
    known = {layer.key for layer in layers}
    own = [
        Layer(key, key.replace("_", " "), "map", _beside, "", "RdBu_r" if "strain" in key else "viridis",
              centred="strain" in key)
        for key in maps if key not in known
    ]  # fmt: skip
    told = []
    for layer in [*layers, *own]:
        array = maps.get(layer.key, layer.array(record))
        if array is not None and array.size and (layer.role == "base" or np.isfinite(array).any()):
            told.append(_told(layer, np.asarray(array), record.micrograph.calibration.pixel_size_nm))
    return told


def _told(layer: Layer, array: np.ndarray, pixel_size_nm: tuple[float, float]) -> dict[str, Any]:
    most = BASE_PX if layer.role == "base" else MAP_PX
    step = max(1, math.ceil(max(array.shape) / most))
    told = {"key": layer.key, "label": layer.label, "role": layer.role, "unit": layer.unit}
    if layer.role == "base":
        shown = shrink(array, step)
        picture, (low, high) = grey_jpeg(shown)
    else:
        shown = layer.factor * block_centres(array, step)
        if layer.colors == "phases":
            return {**told, "uri": phases_png(shown), "box": _box(shown, step, pixel_size_nm), "colors": None}
        low, high = _bounds(shown, layer)
        picture = coloured_png(shown, layer.colors, low, high)
    stops = None if layer.role == "base" else color_stops(layer.colors)
    return {**told, "uri": picture, "box": _box(shown, step, pixel_size_nm), "colors": stops, "low": low, "high": high}


def _box(shown: np.ndarray, step: int, pixel_size_nm: tuple[float, float]) -> list[float]:
    """[left, top, width, height] in nm; the centre of the first pixel is (0, 0)."""
    size_y, size_x = pixel_size_nm
    return [-0.5 * size_x, -0.5 * size_y, shown.shape[1] * step * size_x, shown.shape[0] * step * size_y]


def shrink(image: np.ndarray, step: int) -> np.ndarray:
    """Means of `step` x `step` pixels; the last incomplete blocks repeat the border."""
    if step == 1:
        return image
    padded = np.pad(image, [(0, -size % step) for size in image.shape], mode="edge")
    return block_means(padded, (step, step))


def block_centres(array: np.ndarray, step: int) -> np.ndarray:
    """The middle pixel of each block of `step` x `step`: codes can not be averaged, and NaN must not spread."""
    places = [np.minimum(np.arange(-(-size // step)) * step + step // 2, size - 1) for size in array.shape]
    return array[np.ix_(*places)]


def grey_jpeg(image: np.ndarray) -> tuple[str, tuple[float, float]]:
    """A grey picture as a data URI, with the intensities that are black and white."""
    from PIL import Image

    low, high = (float(value) for value in np.percentile(image[::2, ::2], [0.3, 99.8]))
    high = high if high > low else low + 1.0
    scaled = np.clip((image - low) * (255.0 / (high - low)), 0.0, 255.0).astype(np.uint8)
    return _uri(Image.fromarray(scaled), "jpeg", quality=_JPEG_QUALITY), (low, high)


def phases_png(codes: np.ndarray) -> str:
    """Phase codes in their colours as a data URI; no phase is transparent."""
    from PIL import Image

    image = Image.fromarray(codes.astype(np.uint8), "L").convert("P")
    image.putpalette([value for phase in Phase for value in _rgb(PHASE_COLORS[phase])])
    return _uri(image, "png", transparency=int(Phase.NONE), compress_level=3)


def coloured_png(values: np.ndarray, colors: str, low: float, high: float) -> str:
    """Values in 255 colours as a data URI; unknown values are transparent."""
    from PIL import Image

    known = np.isfinite(values)
    scaled = (np.where(known, values, low).astype(np.float32) - low) * (_COLORS / (high - low))
    index = np.where(known, np.clip(scaled, 0, _COLORS - 1), _COLORS).astype(np.uint8)
    palette = (_sampled(colors, _COLORS) * 255).round().astype(int)
    image = Image.fromarray(index, "L").convert("P")
    image.putpalette([*palette.ravel().tolist(), 255, 255, 255])
    return _uri(image, "png", transparency=_COLORS, compress_level=3)


def color_stops(colors: str) -> list[str]:
    """Evenly spaced colours for a colour bar, as #rrggbb."""
    return ["#" + "".join(f"{round(255 * part):02x}" for part in color) for color in _sampled(colors, _STOPS)]


def _sampled(colors: str, n: int) -> np.ndarray:
    from matplotlib import colormaps

    return np.asarray(colormaps[colors](np.linspace(0.0, 1.0, n)))[:, :3]


def _bounds(values: np.ndarray, layer: Layer) -> tuple[float, float]:
    if layer.bounds is not None:
        return float(layer.bounds[0]), float(layer.bounds[1])
    low, high = (float(value) for value in np.nanpercentile(values, [1.0, 99.0]))
    if layer.centred:
        high = max(abs(low), abs(high))
        low = -high
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def _rgb(color: str) -> tuple[int, int, int]:
    return int(color[1:3], 16), int(color[3:5], 16), int(color[5:7], 16)


def _uri(image: Any, kind: str, **options: Any) -> str:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return f"data:image/{kind};base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"
