"""From a micrograph to columns, phases and thickness: the table of contents of atomseg, read this first."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from threadpoolctl import threadpool_limits

from atomseg.analysis import Analysis, trace_provenance
from atomseg.classify import classify, contrast_check, suggest_pixel_size
from atomseg.config import MapConfig, config_dict
from atomseg.errors import InputError, MissingPixelSizeError
from atomseg.imaging import on_input_grid
from atomseg.infer import infer
from atomseg.io import read_micrograph
from atomseg.localize import localize
from atomseg.measure import measure, measure_lattice, unlike
from atomseg.networks import Model, load_model
from atomseg.types import Check, Micrograph, Prediction, Verdict

if TYPE_CHECKING:
    import os


def map_micrograph(
    source: "str | os.PathLike[str] | np.ndarray | Micrograph | Any",
    *,
    pixel_size_nm: float | tuple[float, float] | None = None,
    model: str | Path | Model | None = None,
    config: MapConfig | None = None,
    device: str = "auto",
    frame: str = "mean",
    on_stage: Callable[[str], None] | None = None,
) -> Analysis:
    """Columns, phases and reconstruction thickness of one micrograph.

    Parameters
    ----------
    source : path, numpy.ndarray, hyperspy Signal2D or Micrograph
        The image; an array needs `pixel_size_nm`.
    pixel_size_nm : float or tuple of float, optional
        Pixel size, or its (y, x) pair, in nm; overrides what the file says.
    model : str, pathlib.Path or Model, optional
        Name or folder of a released model, or a loaded one; None takes the default model.
    config : MapConfig, optional
        Settings of the stages; None takes the defaults.
    device : str
        ``auto``, ``cpu`` or ``cuda``; a loaded model stays where it is.
    frame : str
        For a stack, ``mean`` or the index of a frame.
    on_stage : callable, optional
        Called with the name of each stage as it begins, for a progress display.

    Raises
    ------
    InputError
        If the source can not be read as a micrograph, or is not a HAADF one.
    CalibrationError
        If the pixel size is missing or not one of an atomic-resolution image.
    ModelError
        If the model is missing or its weights do not match its card.
    """
    started = time.perf_counter()
    announce = on_stage or (lambda _stage: None)
    config = MapConfig() if config is None else config
    network = model if isinstance(model, Model) else load_model(model, device=device)

    # The stages multiply and invert thousands of small matrices: BLAS threads only wait for each other there, and on a
    # busy machine for minutes. The network's threads are torch's own and stay.
    with threadpool_limits(limits=1, user_api="blas"):
        announce("read")
        micrograph = read_calibrated(source, pixel_size_nm=pixel_size_nm, frame=frame)
        contrast = contrast_check(micrograph)
        if contrast.verdict is Verdict.STOP:
            raise InputError(f"{micrograph.name}: {contrast.message}")
        announce("infer")
        prediction = infer(micrograph, network, config.infer)
        announce("localize")
        columns = localize(micrograph, prediction, config.localize, device=str(network.device))
        announce("classify")
        phases = classify(micrograph, columns, config.classify)
        announce("measure")
        thickness = measure(phases, micrograph.calibration, config.measure, micrograph=micrograph)
        lattice = measure_lattice(
            columns,
            phases,
            micrograph.calibration,
            thickness.depth_nm,
            config.lattice,
            points=thickness.points,
        )

    checks = (contrast, *phases.checks)
    settings = {**config_dict(config), "input": input_settings(pixel_size_nm, frame)}
    return Analysis(
        micrograph=micrograph,
        localized=columns,
        phases=phases,
        thickness=thickness,
        restored=restored_on_input(prediction),
        checks=checks,
        warnings=_warnings(
            unlike(thickness.surfaces), micrograph.warnings, checks, (*thickness.warnings, *lattice.warnings)
        ),
        provenance=trace_provenance(network, settings, seconds=time.perf_counter() - started),
        prediction=prediction,
        lattice=lattice,
    )


def read_calibrated(
    source: Any, *, pixel_size_nm: float | tuple[float, float] | None = None, frame: str = "mean"
) -> Micrograph:
    """A micrograph with a pixel size; the error of a missing one offers the size that a recognised lattice implies."""
    if isinstance(source, Micrograph):
        return source
    try:
        return read_micrograph(source, pixel_size_nm=pixel_size_nm, frame=frame)
    except MissingPixelSizeError as exc:
        size = None if exc.image is None else suggest_pixel_size(exc.image)
        if size is None:
            raise
        raise MissingPixelSizeError(
            f"{exc} (the lattice looks like a layered oxide with pixels of {size:.5f} nm: "
            f"check, and if you agree give --pixel-size-nm {size:.5f})",
            exc.image,
        ) from exc


def input_settings(pixel_size_nm: float | tuple[float, float] | None, frame: str) -> dict[str, object]:
    """What the caller said about the input, as kept with the result and compared when a run is resumed."""
    size = list(pixel_size_nm) if isinstance(pixel_size_nm, Sequence) else pixel_size_nm
    return {"pixel_size_nm": size, "frame": frame}


def restored_on_input(prediction: Prediction) -> np.ndarray:
    """Restored image on the input's pixel grid, (H, W) float32."""
    return on_input_grid(prediction.restored, prediction)


def _warnings(
    first: Sequence[str], reader: Sequence[str], checks: Sequence[Check], measured: Sequence[str]
) -> tuple[str, ...]:
    judged = [check.message for check in checks if check.verdict is not Verdict.OK and check.message]
    return tuple(dict.fromkeys([*first, *reader, *judged, *measured]))
