"""Released models: where they are, and loading one with its hash checked."""

import hashlib
import os
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_safetensors

from atomseg.errors import ModelError
from atomseg.networks.card import ModelCard, read_card
from atomseg.networks.unet import UNet

DEFAULT_MODEL = "unet24.v3"
SEARCH_VARIABLE = "ATOMSEG_MODELS"
WEIGHTS_FILE, CARD_FILE, GOLDEN_FILE = "model.safetensors", "card.json", "golden.npz"

_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Model:
    """A loaded model.

    Parameters
    ----------
    network : UNet
        In eval mode, float32, on `device`.
    card : ModelCard
        What it is.
    sha256 : str
        Hash of the weights, equal to the card's.
    device : torch.device
        Where it runs.
    folder : pathlib.Path
        Where it came from.
    """

    network: UNet
    card: ModelCard
    sha256: str
    device: torch.device
    folder: Path


def model_folders() -> list[Path]:
    """Folders that are searched for models, in order: ATOMSEG_MODELS, the installed package, the checkout."""
    named = [Path(part) for part in os.environ.get(SEARCH_VARIABLE, "").split(os.pathsep) if part]
    return [*named, _PACKAGE / "_models", _PACKAGE.parent / "models"]


def list_models() -> dict[str, Path]:
    """Known models by name, with their folders; the first folder in search order wins."""
    found: dict[str, Path] = {}
    for folder in model_folders():
        if folder.is_dir():
            for card in sorted(folder.glob(f"*/{CARD_FILE}")):
                found.setdefault(card.parent.name, card.parent)
    return dict(sorted(found.items()))


def find_model(name_or_path: str | Path | None = None) -> Path:
    """Folder of a model.

    Parameters
    ----------
    name_or_path : str or pathlib.Path, optional
        A folder with a card, or the name of a known model; None is the default model.

    Raises
    ------
    ModelError
        If there is no such folder or name; the known names are listed.
    """
    wanted = DEFAULT_MODEL if name_or_path is None else name_or_path
    path = Path(wanted)
    if path.is_dir() and (path / CARD_FILE).is_file():
        return path
    known = list_models()
    if str(wanted) in known:
        return known[str(wanted)]
    names = ", ".join(known) or "none"
    raise ModelError(
        f"no model {str(wanted)!r}; known models: {names}; give one of these or the path of a model folder"
    )


def load_model(name_or_path: str | Path | None = None, *, device: str | torch.device = "cpu") -> Model:
    """Load a released model and check its hash.

    Parameters
    ----------
    name_or_path : str or pathlib.Path, optional
        A model folder or the name of a known model; None is the default model.
    device : str or torch.device
        ``cpu``, ``cuda``, ``cuda:1`` or ``auto`` (a GPU where there is one).

    Raises
    ------
    ModelError
        If the model is unknown, incomplete, its hash is not the card's, or the device is not there.
    """
    folder = find_model(name_or_path)
    card = read_card(folder / CARD_FILE)
    try:
        content = (folder / WEIGHTS_FILE).read_bytes()
    except OSError as error:
        raise ModelError(f"weights of {card.id} can not be read ({error}); take the folder from a release") from error
    sha256 = hashlib.sha256(content).hexdigest()
    if sha256 != card.sha256:
        raise ModelError(
            f"{folder / WEIGHTS_FILE} has sha256 {sha256}, its card says {card.sha256}; "
            "the file was changed or cut short: take the folder from a release again"
        )
    network = UNet(card.architecture)
    try:
        network.load_state_dict(load_safetensors(content), strict=True)
    except (SafetensorError, RuntimeError) as error:
        first = " ".join(str(error).split())[:200]  # torch lists every tensor
        raise ModelError(f"weights of {card.id} do not fit its architecture {card.architecture}: {first}") from error
    where = choose_device(device)
    # Channels next to each other: convolutions take an eighth less time so.
    network = network.eval().to(where, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Model(network=network, card=card, sha256=sha256, device=where, folder=folder)


def choose_device(device: str | torch.device) -> torch.device:
    """The device of that name; ``auto`` is a GPU where there is one.

    Raises
    ------
    ModelError
        If the name is no device or this machine does not have it.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        chosen = torch.device(device)
    except RuntimeError as error:
        raise ModelError(f"{device!r} is no device; allowed: auto, cpu, cuda, cuda:N") from error
    if chosen.type == "cuda" and (chosen.index or 0) >= torch.cuda.device_count():
        raise ModelError(f"device {device} is not on this machine ({torch.cuda.device_count()} GPUs); say cpu or auto")
    return chosen


def check_golden(model: Model) -> dict[str, float]:
    """Compare the outputs for the golden input with the ones that were stored at the release.

    Returns
    -------
    dict
        Largest absolute difference of each output.

    Raises
    ------
    ModelError
        If the golden file is missing or a difference is larger than the stored tolerance.
    """
    path = model.folder / GOLDEN_FILE
    try:
        with np.load(path, allow_pickle=False) as data:
            golden = {name: data[name] for name in data.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise ModelError(f"golden file of {model.card.id} can not be read ({error}); take it from a release") from error
    outputs = golden_outputs(model.network, golden["input"], model.device)
    tolerance = float(golden["tolerance"])
    differences = {name: float(np.abs(value - golden[name]).max()) for name, value in outputs.items()}
    wrong = {name: value for name, value in differences.items() if not value <= tolerance}
    if wrong:
        seen = ", ".join(f"{name} {value:.2g}" for name, value in wrong.items())
        raise ModelError(f"{model.card.id} does not reproduce its golden outputs: {seen}; allowed {tolerance:g}")
    return differences


@torch.inference_mode()
def golden_outputs(network: UNet, image: np.ndarray, device: torch.device) -> dict[str, np.ndarray]:
    """Raw outputs for one normalized image, (H, W), as float32 arrays (C, H, W)."""
    outputs = network(torch.from_numpy(image)[None, None].to(device))
    return {name: value[0].float().cpu().numpy() for name, value in vars(outputs).items() if value is not None}
