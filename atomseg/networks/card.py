"""Model cards: what a released model is, how it was made, how good it is."""

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

import numpy as np

from atomseg.errors import AtomsegError, ModelError
from atomseg.imaging import NormalizeConfig
from atomseg.networks.unet import HEADS, UNetConfig

SCHEMA = 3
# Pairs of predicted and measured standard deviation, pixels, both rising.
SigmaMap = tuple[tuple[float, float], ...]
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class TrainingRecord:
    """How a model was trained.

    Parameters
    ----------
    config, simulation : dict
        Every setting of the training and of the scenes.
    begun_with : str
        The model whose weights were the first ones; empty where they were random.
    seed, steps : int
        Seed and optimizer steps up to these weights, those of the models before it not counted.
    scenes : int
        Scenes seen up to these weights.
    seconds : float
        Wall time of the training, also of what came after the weights where it was ended by `patience`.
    commit : str
        Commit of the code; ends in ``+changes`` when the checkout had uncommitted ones.
    version : str
        Version of the package.
    device : str
        Machine it ran on.
    packages : dict
        Versions that matter.
    date : str
        Day of the release, ISO 8601.
    """

    config: dict[str, Any]
    simulation: dict[str, Any]
    begun_with: str
    seed: int
    steps: int
    scenes: int
    seconds: float
    commit: str
    version: str
    device: str
    packages: dict[str, str]
    date: str


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """What a released model is.

    Parameters
    ----------
    id : str
        ``<architecture>.<tag>``; a released id is never used again for other weights.
    sha256 : str
        Hash of ``model.safetensors``.
    architecture : UNetConfig
        Builds the network.
    normalization : NormalizeConfig
        What images go through before the network.
    pixel_size_nm : float
        Pixel size the network works at.
    valid_pixel_size_nm : tuple of float
        Smallest and largest pixel size of micrographs it was trained on.
    heatmap_threshold : float
        Heat map value from which a peak is a column: the best F1 on the validation scenes among those that invent at
        most half a column in 100 nm² outside crystal.
    offset_sigma_map : tuple of tuple of float
        (predicted, measured) standard deviations of an offset component in pixels, measured on validation scenes; see
        `map_sigma`. Empty where the predicted one is used as it is.
    training : TrainingRecord
        How it was made.
    accuracy : dict
        Measured on scenes that it was not trained on; the keys carry units.
    limits : tuple of str
        What it should not be used for.
    heads : tuple of str
        What it answers.
    licence : str
        Licence of the weights, SPDX.
    schema : int
        Version of this record.
    """

    id: str
    sha256: str
    architecture: UNetConfig
    normalization: NormalizeConfig
    pixel_size_nm: float
    valid_pixel_size_nm: tuple[float, float]
    heatmap_threshold: float
    training: TrainingRecord
    accuracy: dict[str, float]
    limits: tuple[str, ...]
    offset_sigma_map: SigmaMap = ()
    heads: tuple[str, ...] = field(default=HEADS)
    licence: str = "GPL-3.0-or-later"
    schema: int = SCHEMA


def map_sigma(sigma: np.ndarray, pairs: SigmaMap) -> np.ndarray:
    """Measured standard deviation for predicted ones, any shape, the same dtype.

    Linear between the pairs in the logarithms; beyond them the factor of the last pair holds.
    """
    if not pairs:
        return sigma
    predicted, measured = np.log(np.asarray(pairs, dtype=np.float64)).T
    factor = np.exp(np.interp(np.log(sigma), predicted, measured - predicted))
    return np.asarray(sigma * factor.astype(sigma.dtype))


def write_card(card: ModelCard, path: Path) -> None:
    """Write a card as JSON."""
    path.write_text(json.dumps(asdict(card), indent=2) + "\n", encoding="utf-8")


def read_card(path: Path) -> ModelCard:
    """Read and check a card.

    Raises
    ------
    ModelError
        If the file is missing, is not JSON, or a key is missing, unknown or of the wrong type.
    """
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ModelError(
            f"{path.parent} is not a model folder: card.json is missing; give a folder with a card"
        ) from None
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ModelError(f"{path} can not be read as a model card ({error}); take the folder from a release") from error
    schema = data.get("schema") if isinstance(data, dict) else None
    if schema == 1:
        data = _from_schema_1(data)
    if schema in {1, 2}:
        data = _from_schema_2(data)
    elif schema != SCHEMA:
        raise ModelError(f"{path} has card schema {schema}; this version reads {SCHEMA}; install a matching atomseg")
    try:
        return build_record(ModelCard, data, "card")
    except (TypeError, AtomsegError) as error:
        raise ModelError(f"{path}: {error}") from error


def _from_schema_1(data: dict[str, Any]) -> dict[str, Any]:
    """Card of the first schema, which had a fixed list of heads and no calibration, as one of the second."""
    architecture = data.get("architecture")
    if isinstance(architecture, dict):
        architecture = {"bottom_dilation": 1, "heads": data.get("heads"), **architecture}
    return {**data, "architecture": architecture, "offset_sigma_map": []}


def _from_schema_2(data: dict[str, Any]) -> dict[str, Any]:
    """Card of the second schema, which did not tell what a training began with, as one of this schema."""
    training = data.get("training")
    if isinstance(training, dict):
        training = {"begun_with": "", **training}
    return {**data, "training": training, "schema": SCHEMA}


def build_record(kind: type[T], data: Any, where: str) -> T:
    """Instance of a dataclass from JSON values; every key must be there and nothing else.

    Parameters
    ----------
    kind : type
        The dataclass.
    data : object
        What `json.loads` gave.
    where : str
        Name for messages.

    Raises
    ------
    TypeError
        If a key is missing or unknown, or a value has the wrong type.
    """
    if not isinstance(data, dict):
        raise TypeError(f"{where} is {data!r}, not an object")
    hints = get_type_hints(kind)
    names = {f.name for f in fields(kind)}  # type: ignore[arg-type]
    if set(data) != names:
        wrong = sorted(set(data) ^ names)
        raise TypeError(f"{where} has missing or unknown keys: {', '.join(wrong)}")
    return kind(**{name: _value(hints[name], data[name], f"{where}.{name}") for name in names})


def _tuple(arguments: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    """Tuple of a field from a JSON list, each value checked."""
    if not isinstance(value, list):
        raise TypeError(f"{where} is {value!r}, not a list")
    kinds = [arguments[0]] * len(value) if arguments[-1] is ... else list(arguments)
    if len(kinds) != len(value):
        raise TypeError(f"{where} has {len(value)} values, not {len(kinds)}")
    return tuple(_value(k, v, f"{where}[{i}]") for i, (k, v) in enumerate(zip(kinds, value, strict=True)))


def _value(hint: Any, value: Any, where: str) -> Any:
    """Value of a field, checked against its type."""
    if hasattr(hint, "__dataclass_fields__"):
        return build_record(hint, value, where)
    origin, arguments = get_origin(hint) or hint, get_args(hint)
    if origin is tuple:
        return _tuple(arguments, value, where)
    if origin is Literal:
        if value not in arguments:
            raise TypeError(f"{where} is {value!r}, not one of {', '.join(map(repr, arguments))}")
        return value
    if origin is Any:
        return value
    if origin is float and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if not isinstance(value, origin) or (isinstance(value, bool) and origin is not bool):
        raise TypeError(f"{where} is {value!r}, not of type {origin.__name__}")
    if origin is dict:
        return {key: _value(arguments[1], v, f"{where}.{key}") for key, v in value.items()}
    return value
