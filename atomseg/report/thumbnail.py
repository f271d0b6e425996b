"""A small picture of a result for the cohort's page."""

import io
import math

import numpy as np

from atomseg.report.layers import block_centres, shrink
from atomseg.report.style import PHASE_COLORS
from atomseg.types import AnalysisRecord, Phase

_MOST_PX = 220
_SHARE = 0.45


def thumbnail_jpeg(record: AnalysisRecord) -> bytes:
    """The micrograph with its phases in colour, at most 220 pixels a side, as a JPEG file of some kB."""
    from PIL import Image

    step = max(1, math.ceil(max(record.micrograph.shape) / _MOST_PX))
    grey, codes = shrink(record.micrograph.image, step), block_centres(record.phases.labels, step)
    low, high = (float(value) for value in np.percentile(grey, [0.5, 99.5]))
    grey = np.clip((grey - low) / max(high - low, 1e-12), 0.0, 1.0)[..., None] * 255.0
    colors = np.array([[int(PHASE_COLORS[phase][i : i + 2], 16) for i in (1, 3, 5)] for phase in Phase], np.float32)
    share = np.where(codes == Phase.NONE, 0.0, _SHARE)[..., None]
    mixed = (1.0 - share) * grey + share * colors[codes]
    buffer = io.BytesIO()
    Image.fromarray(mixed.round().astype(np.uint8)).save(buffer, "jpeg", quality=80)
    return buffer.getvalue()
