"""Checks of single options that several commands share."""

import os

from atomseg.errors import UsageError


def parse_pixel_size(text: str | None) -> float | tuple[float, float] | None:
    """Pixel size in nm from ``F`` or ``Y,X``; a size that no atomic-resolution image can have is bad usage."""
    if text is None:
        return None
    from atomseg.errors import CalibrationError
    from atomseg.types import Calibration, CalibrationOrigin

    parts = text.split(",")
    try:
        sizes = [float(part) for part in parts]
    except ValueError:
        raise UsageError(f"--pixel-size-nm {text}: expected a number of nm, or two as Y,X; e.g. 0.0125") from None
    if len(sizes) not in {1, 2}:
        raise UsageError(f"--pixel-size-nm {text}: expected one number of nm, or two as Y,X; got {len(sizes)}")
    try:
        Calibration((sizes[0], sizes[-1]), CalibrationOrigin.USER)
    except CalibrationError as exc:
        raise UsageError(f"--pixel-size-nm {text}: {exc}") from None
    return sizes[0] if len(sizes) == 1 else (sizes[0], sizes[1])


def check_frame(text: str) -> str:
    """``mean``, ``all`` or the index of a frame."""
    if text not in {"mean", "all"} and not text.isdecimal():
        raise UsageError(f"--frame {text}: allowed are mean, all, or the index of a frame from 0")
    return text


def check_device(text: str) -> str:
    """``auto``, ``cpu`` or ``cuda``."""
    if text not in {"auto", "cpu", "cuda"}:
        raise UsageError(f"--device {text}: allowed are auto, cpu and cuda")
    return text


def parse_outputs(text: str | None) -> tuple[str, ...]:
    """Names of pictures from ``A,B``."""
    if text is None:
        return ()
    from atomseg.imaging import OUTPUTS

    names = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    wrong = [name for name in names if name not in OUTPUTS]
    if wrong or not names:
        raise UsageError(f"--save {text}: allowed are {', '.join(OUTPUTS)}, with commas between them")
    return names


def check_heads(outputs: tuple[str, ...], model: str, heads: tuple[str, ...]) -> None:
    """The model must answer what is to be saved."""
    from atomseg.imaging import HEAD_OF_OUTPUT

    for name in outputs:
        if name in HEAD_OF_OUTPUT and HEAD_OF_OUTPUT[name] not in heads:
            raise UsageError(f"--save {name}: model {model} does not answer it; use a later one, see atomseg models")


def check_workers(workers: int | None) -> int | None:
    """At least one process, and not more than could ever help; None leaves it open."""
    if workers is None:
        return None
    limit = 4 * (os.cpu_count() or 1)
    if not 1 <= workers <= limit:
        raise UsageError(f"--workers {workers}: allowed are 1 to {limit} on this machine")
    return workers
