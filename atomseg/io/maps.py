"""Calibrated images on disk: TIFF that ImageJ, Fiji, Digital Micrograph and HyperSpy open with their scale."""

from pathlib import Path

import numpy as np
import tifffile

from atomseg.errors import OutputError
from atomseg.io.foreign import first_line

# Digital Micrograph keeps its scale in tags of its own and does not look at the usual ones; as RosettaSciIO has them.
_DM_UNIT_XY, _DM_ORIGIN_XY, _DM_SCALE_XY = (65003, 65004), (65006, 65007), (65009, 65010)


def write_map(path: Path, array: np.ndarray, pixel_size_nm: tuple[float, float]) -> None:
    """One plane as an ImageJ TIFF with its pixel size in nm, which Digital Micrograph finds too.

    Parameters
    ----------
    path : pathlib.Path
        File to write.
    array : numpy.ndarray
        (H, W) uint8, uint16 or float32.
    pixel_size_nm : (float, float)
        (y, x) pixel size.
    """
    y, x = pixel_size_nm
    # ImageJ keeps one unit and two densities, in (x, y) order.
    tifffile.imwrite(
        path,
        array,
        imagej=True,
        resolution=(1.0 / x, 1.0 / y),
        metadata={"unit": "nm", "axes": "YX"},
        extratags=[
            *((tag, "s", 3, "nm", True) for tag in _DM_UNIT_XY),
            *((tag, "d", 1, 0.0, True) for tag in _DM_ORIGIN_XY),
            *((tag, "d", 1, float(size), True) for tag, size in zip(_DM_SCALE_XY, (x, y), strict=True)),
        ],
    )


def read_map(path: Path, *dtypes: type[np.generic]) -> np.ndarray:
    """The plane that `write_map` wrote, of one of the types `dtypes`.

    Raises
    ------
    OutputError
        If the file is missing or damaged, or holds another kind of pixels.
    """
    try:
        array = np.asarray(tifffile.imread(path))
    except (OSError, ValueError, tifffile.TiffFileError) as exc:
        raise OutputError(f"{path} can not be read back: {first_line(exc)}") from exc
    if array.ndim != 2 or array.dtype not in [np.dtype(dtype) for dtype in dtypes]:
        allowed = " or ".join(np.dtype(dtype).name for dtype in dtypes)
        raise OutputError(f"{path} holds {array.dtype} of shape {array.shape}, expected 2D {allowed}")
    return array
