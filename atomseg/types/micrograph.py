"""A micrograph: one image with its calibration."""

from dataclasses import dataclass, field

import numpy as np

from atomseg.types.calibration import Calibration


@dataclass(frozen=True)
class Micrograph:
    """One image as measured.

    Parameters
    ----------
    image : numpy.ndarray
        (H, W) float32, raw intensities, finite everywhere (invalid pixels are filled and marked in `invalid`).
    calibration : Calibration
        Pixel size and its origin.
    name : str
        Short name for titles and result folders: the file's stem, or what the caller gave.
    path : str or None
        File it came from.
    sha256 : str or None
        Hash of the file's bytes (of the image bytes for an array).
    frame : str
        ``mean`` when a stack was averaged, the index when one was chosen, ``single`` otherwise.
    n_frames : int
        Frames in the file.
    invalid : numpy.ndarray or None
        (H, W) bool, True where the file had NaN or infinity; None when every pixel was finite.
    metadata : dict
        What the reader found and a person may want: signal type, title, voltage.
    warnings : tuple of str
        What the reader had to say.
    """

    image: np.ndarray
    calibration: Calibration
    name: str = "image"
    path: str | None = None
    sha256: str | None = None
    frame: str = "single"
    n_frames: int = 1
    invalid: np.ndarray | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.image.ndim != 2 or self.image.dtype != np.float32:
            raise ValueError(f"a micrograph is a 2D float32 image, got {self.image.dtype} of shape {self.image.shape}")

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) in pixels."""
        return (int(self.image.shape[0]), int(self.image.shape[1]))
