"""Checkpoints of a run: where they lie, what is read from them, which weights are released."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from atomseg.errors import ModelError

_AVERAGE = "average."


def last_checkpoint(output: Path) -> Path:
    """Where a run keeps the checkpoint that it resumes from."""
    return output / "checkpoints" / "last.ckpt"


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Contents of a checkpoint, tensors and plain values only.

    Raises
    ------
    ModelError
        If the file is missing or was not written by `train`.
    """
    if not path.is_file():
        raise ModelError(f"no checkpoint at {path}; train first, or give the folder of a run that was started")
    checkpoint = torch.load(path, map_location="cpu", weights_only=True)
    if "atomseg_config" not in checkpoint:
        raise ModelError(f"{path} is not a checkpoint of atomseg train; give one from a run's checkpoints folder")
    return checkpoint


def released_weights(saved: dict[str, Any]) -> tuple[dict[str, Tensor], int]:
    """Averaged weights that a checkpoint stands for, and the optimizer step that they are of.

    Those of the validation with the best F1 where the training had a `patience`, the last ones otherwise.
    """
    if best := saved.get("atomseg_best"):
        return best["weights"], int(best["step"])
    last = {
        name.removeprefix(_AVERAGE): value for name, value in saved["state_dict"].items() if name.startswith(_AVERAGE)
    }
    return last, int(saved["global_step"])
