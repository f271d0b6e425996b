"""Images of Velox files that also hold spectrum images."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from atomseg.io.foreign import foreign_reader
from atomseg.io.raw import RawAxis, RawImage


def has_spectrum_images(path: Path) -> bool:
    """True for a Velox file with spectrum images beside its images.

    RosettaSciIO unpacks those too, which takes gigabytes and an optional library, and then keeps one frame of each
    image.

    Raises
    ------
    InputError
        If the file is no readable HDF5.
    """
    import h5py

    with foreign_reader("EMD"), h5py.File(path, "r") as file:
        return "Version" in file and "Data/SpectrumImage" in file and "Data/Image" in file


def read_velox_images(path: Path) -> list[RawImage]:
    """Every image (stack) of a Velox file, its spectra left alone.

    Raises
    ------
    InputError
        If the file is damaged.
    """
    import h5py

    with foreign_reader("Velox EMD"), h5py.File(path, "r") as file:
        return [_read_image(group) for group in file["Data/Image"].values()]


def _read_image(group: Any) -> RawImage:
    about = json.loads(bytes(group["Metadata"][:, 0]).rstrip(b"\x00"))
    stored = np.asarray(group["Data"])  # (y, x, frame)
    if stored.dtype.names:  # Fourier transforms and vector maps: pairs of real and imaginary parts
        stored = stored[stored.dtype.names[0]] + 1j * stored[stored.dtype.names[1]]
    data = np.moveaxis(stored, 2, 0)
    result = about.get("BinaryResult", {})
    size = result.get("PixelSize") or {}
    axes = (
        RawAxis(data.shape[0], name="Time"),
        _axis(data.shape[1], size.get("height"), str(result.get("PixelUnitY", "")), "y"),
        _axis(data.shape[2], size.get("width"), str(result.get("PixelUnitX", "")), "x"),
    )
    title = str(result.get("Detector", "")) or str(about.get("Core", {}).get("MetadataType", ""))
    voltage = about.get("Optics", {}).get("AccelerationVoltage")
    facts = {"title": title} | ({"beam_energy_kv": f"{float(voltage) / 1e3:g}"} if voltage else {})
    return RawImage(data, axes, title=title, metadata=facts)


def _axis(n: int, scale: object, unit: str, name: str) -> RawAxis:
    return RawAxis(n, float(str(scale)) if scale is not None else None, unit, name)
