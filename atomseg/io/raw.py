"""What a file reader found, before anyone judged whether it is a micrograph."""

from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True)
class RawAxis:
    """One axis of a data set.

    Parameters
    ----------
    size : int
        Number of points.
    scale : float or None
        Step in `unit`; None when the file does not say.
    unit : str
        Unit as the file writes it, empty when it writes none.
    name : str
        Name as the file writes it.
    """

    size: int
    scale: float | None = None
    unit: str = ""
    name: str = ""


@dataclass(frozen=True)
class RawImage:
    """One data set of a file.

    Parameters
    ----------
    data : numpy.ndarray
        Any dtype, axes as in `axes`; colour images have a last axis of 2 to 4 channels that `axes` does not list.
    axes : tuple of RawAxis
        Frame axes first, then the axes of the image (y, x), or of the spectrum.
    n_signal_axes : int
        How many of the last axes belong to one image (2) or spectrum (1).
    has_channels : bool
        True when `data` has the extra colour axis.
    title, signal_type : str
        As the file says.
    metadata : dict
        Facts for a person.
    warnings : tuple of str
        What the reader had to say.
    """

    data: np.ndarray
    axes: tuple[RawAxis, ...]
    n_signal_axes: int = 2
    has_channels: bool = False
    title: str = ""
    signal_type: str = ""
    metadata: dict[str, str] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    @property
    def frame_axes(self) -> tuple[RawAxis, ...]:
        """Axes along which whole images are stacked, those of length one left out."""
        return tuple(axis for axis in self.axes[: len(self.axes) - self.n_signal_axes] if axis.size != 1)

    @property
    def signal_axes(self) -> tuple[RawAxis, ...]:
        """Axes of one image."""
        return self.axes[len(self.axes) - self.n_signal_axes :]

    @property
    def n_frames(self) -> int:
        """Number of images in the stack."""
        return int(np.prod([axis.size for axis in self.frame_axes], dtype=int))

    def frames(self) -> np.ndarray:
        """(N, H, W) view of the data, (N, H, W, C) for colour."""
        tail = self.data.shape[len(self.axes) - self.n_signal_axes :]
        return self.data.reshape((self.n_frames, *tail))

    def describe(self) -> str:
        """Shape, dtype and title in a few words, for lists of what a file holds."""
        shape = " x ".join(str(axis.size) for axis in self.axes)
        kind = f" {self.signal_type}" if self.signal_type else ""
        return f"{self.title or 'untitled'} ({shape} {self.data.dtype}{kind})"
