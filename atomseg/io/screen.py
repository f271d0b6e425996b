"""8-bit pictures that are no micrographs: screen grabs and figures with a frame, maps of labels."""

import numpy as np
from scipy import ndimage

# A frame line varies less along its whole length than this fraction of the image's grey range (JPEG noise included;
# a row of a micrograph varies by its columns or its noise) ...
_LINE_SPREAD = 0.04
# ... and a frame is drawn: neighbouring lines differ by at least this fraction, which padding and vacuum never do.
_LINE_STEP = 0.12
_FRAME_DEPTH_PX = 12


def window_frame(image: np.ndarray) -> str | None:
    """What gives a screen grab or a figure away; None when nothing does.

    A window or a plot is framed by lines that run straight along whole sides, each of one grey, next to each other and
    different: a bevel, a border and its background. The test wants this on at least three sides. Padding, vacuum and
    clipped regions can make uniform lines too, but all of the same grey.

    Parameters
    ----------
    image : numpy.ndarray
        (H, W) float32 from an 8-bit picture.

    Returns
    -------
    str or None
        A phrase for the refusal.
    """
    low, high = np.percentile(image, (1, 99))
    span = float(high - low)
    if span <= 0:
        return None
    sides = {"top": image, "bottom": image[::-1], "left": image.T, "right": image.T[::-1]}
    framed = [name for name, turned in sides.items() if _has_drawn_edge(turned[:_FRAME_DEPTH_PX], span)]
    return f"a drawn frame along {', '.join(framed)}" if len(framed) >= 3 else None


def _has_drawn_edge(lines: np.ndarray, span: float) -> bool:
    """True when the outermost rows hold two neighbouring uniform lines of different grey."""
    # The corners belong to the lines of the neighbouring sides.
    inner = lines[:, _FRAME_DEPTH_PX : lines.shape[1] - _FRAME_DEPTH_PX]
    spread = np.subtract(*np.percentile(inner, (98, 2), axis=1))
    level = np.median(inner, axis=1)
    uniform = spread <= _LINE_SPREAD * span
    steps = np.abs(np.diff(level)) >= _LINE_STEP * span
    return bool(np.any(uniform[:-1] & uniform[1:] & steps))


def is_label_map(image: np.ndarray) -> bool:
    """True for a picture of a few values in large patches.

    Counted electrons at a very low dose have few values too, but they are scattered: a 3 x 3 median changes many
    pixels, while it hardly touches the patches of a mask.

    Parameters
    ----------
    image : numpy.ndarray
        (H, W) float32 from an 8-bit picture.
    """
    counts = np.bincount(np.clip(image, 0, 255).astype(np.uint8).ravel(), minlength=256)
    if np.count_nonzero(counts) > 8:
        return False
    return bool(np.mean(ndimage.median_filter(image, size=3) != image) < 0.005)
