"""Errors that a user can act on: each says what was seen, what is allowed and how to fix it."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


class AtomsegError(Exception):
    """Base of every error that atomseg raises on purpose; its text is one line for a person."""


class InputError(AtomsegError):
    """A file, array or signal can not be read as a micrograph, or is not one (a spectrum, a tilt series)."""


class CalibrationError(AtomsegError):
    """The pixel size is missing, not a length, or outside what an atomic-resolution image can have."""


class MissingPixelSizeError(CalibrationError):
    """Neither the file nor the user says how large a pixel is; the message says how to give it.

    Parameters
    ----------
    message : str
        One line for a person.
    image : numpy.ndarray or None
        (H, W) float32, the decoded image, so that a caller can offer the pixel size that a recognised lattice implies.
    """

    def __init__(self, message: str, image: "np.ndarray | None" = None) -> None:
        super().__init__(message)
        self.image = image


class ConfigError(AtomsegError):
    """A configuration has an unknown key or a value outside its range."""


class ModelError(AtomsegError):
    """A model folder is missing, incomplete, or does not match its card."""


class UsageError(AtomsegError):
    """What was asked for can not mean anything, e.g. two inputs with one result folder; nothing has run."""


class OutputError(AtomsegError):
    """Results can not be written, or a result folder can not be read back."""


class ClusterError(AtomsegError):
    """The workers of a batch can not be started, or are lost; finished results are kept."""
