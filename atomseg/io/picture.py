"""PNG and JPEG, the last resort: 8 bits, often compressed, never calibrated."""

from pathlib import Path

import numpy as np

from atomseg.errors import InputError
from atomseg.io.foreign import foreign_reader
from atomseg.io.raw import RawAxis, RawImage

_GREY_MODES = {"L", "I;16", "I;16L", "I;16B", "I", "F"}
_COLOUR_MODES = {"RGB", "RGBA", "LA"}


def read_picture(path: Path, kind: str) -> list[RawImage]:
    """The image of a PNG or JPEG file.

    Raises
    ------
    InputError
        If the file is damaged, cut short, or has one bit a pixel.
    """
    from PIL import Image

    with foreign_reader(kind) as said, Image.open(path) as picture:
        mode = picture.mode
        if mode == "1":
            raise InputError("has boolean pixels (black or white): a mask, not a micrograph")
        if mode not in _GREY_MODES | _COLOUR_MODES:
            # Palettes and print colours: the colours that a person sees decide whether it is grey.
            data = np.asarray(picture.convert("RGBA" if mode in ("P", "PA") else "RGB"))
        else:
            data = np.asarray(picture)
    notes = ["JPEG is lossy: fine intensity differences are lost, keep the original"] if kind == "JPEG" else []
    axes = (RawAxis(data.shape[0], name="y"), RawAxis(data.shape[1], name="x"))
    return [
        RawImage(
            data=data,
            axes=axes,
            has_channels=data.ndim == 3,
            title=path.stem,
            metadata={"format": kind},
            warnings=tuple(said + notes),
        )
    ]
