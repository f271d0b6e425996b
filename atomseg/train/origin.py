"""What a run was begun with: kept in its checkpoints, and compared when it is resumed or released."""

import hashlib
import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from atomseg.errors import ConfigError, OutputError
from atomseg.networks import Model
from atomseg.simulate import SceneConfig
from atomseg.train.checkpoint import last_checkpoint, read_checkpoint
from atomseg.train.config import TrainConfig
from atomseg.types import Scene

# May differ when a run is resumed: they change how long and how comfortably it runs, not what is learned at a step.
_FREE_ON_RESUME: dict[str, Any] = {
    "steps": 1,
    "warmup_steps": 0,
    "decay_fraction": 0.5,
    "validation_interval": 1,
    "checkpoint_interval": 1,
    "picture_interval": 1,
    "patience": 0,
    "workers": 0,
    "threads": 0,
    "accelerator": "auto",
}
# What a person says to have them, for messages.
_GIVEN_AS = {"simulation": "simulation", "scenes": "--scenes", "weights": "--from"}
# Differences that a message names, and characters of a value in it: it is one line.
_MOST_NAMED, _VALUE_LENGTH = 3, 60


@dataclass(frozen=True)
class Origin:
    """What decides the result of a run beside its settings; JSON-ready.

    Parameters
    ----------
    simulation : dict
        Every setting of the simulated scenes; structure files by their content.
    scenes : str
        sha256 of the given scenes; empty without any.
    weights : str
        sha256 of the model that the first weights are of; empty where they are random.
    """

    simulation: dict[str, Any]
    scenes: str
    weights: str


def origin_of(simulation: SceneConfig, scenes: Sequence[Scene] = (), start: Model | None = None) -> Origin:
    """What a run with these arguments of `train` is begun with."""
    return Origin(_distribution(asdict(simulation)), _content(scenes), "" if start is None else start.sha256)


def check_resumed(config: TrainConfig, origin: Origin, output: Path) -> None:
    """Refuse to go on with a run under other settings, scenes or first weights than it was begun with.

    Raises
    ------
    ModelError
        If there is nothing to resume.
    ConfigError
        If something differs.
    """
    saved = read_checkpoint(last_checkpoint(output))
    then = _plain(saved["atomseg_config"]) | _FREE_ON_RESUME
    now, kept = asdict(origin), _kept_origin(saved, output)
    one, other = ({name: part[key] for key, name in _GIVEN_AS.items() if key in kept} for part in (kept, now))
    # First what was given: the network and its settings follow from the model that the weights are of.
    settings = _differences(then, _plain(asdict(replace(config, **_FREE_ON_RESUME))))
    _refuse(_differences(one, other) + settings, output)
    if unknown := [name for key, name in _GIVEN_AS.items() if key not in kept]:
        warnings.warn(
            f"the run in {output} was started by a version that did not keep what it was begun with; "
            f"not checked to be the same now: {', '.join(unknown)}",
            stacklevel=3,
        )


def check_simulation(saved: dict[str, Any], simulation: SceneConfig, checkpoint: Path) -> None:
    """Refuse to state other scenes for a checkpoint than those that it was trained on, where it tells them.

    Raises
    ------
    ConfigError
        If they differ.
    """
    then = (saved.get("atomseg_origin") or {}).get("simulation")
    if then is None:
        return
    if different := _differences(then, _distribution(asdict(simulation)), "simulation."):
        raise ConfigError(
            f"{checkpoint} was trained on other scenes ({_named(different)}); give the simulation that trained it"
        )


def _kept_origin(saved: dict[str, Any], output: Path) -> dict[str, Any]:
    """What a run says that it was begun with; of an old one the file beside it tells the simulation."""
    kept = dict(saved.get("atomseg_origin") or {})
    if "simulation" not in kept:
        try:
            kept["simulation"] = _distribution(json.loads((output / "simulation.json").read_text(encoding="utf-8")))
        except (OSError, ValueError):
            return kept
    return kept


def _refuse(different: list[str], output: Path) -> None:
    if different:
        raise ConfigError(
            f"the run in {output} was started with other settings ({_named(different)}); use the same ones, "
            "or give another folder"
        )


def _named(different: list[str]) -> str:
    """The first differences and the number of the others, on one line."""
    more = len(different) - _MOST_NAMED
    return ", ".join(different[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")


def _differences(then: dict[str, Any], now: dict[str, Any], prefix: str = "") -> list[str]:
    """Settings that are not the same, nested ones by their dotted names, with both values."""
    found: list[str] = []
    for key in sorted(then.keys() | now.keys()):
        one, other = then.get(key), now.get(key)
        if isinstance(one, dict) and isinstance(other, dict):
            found += _differences(one, other, f"{prefix}{key}.")
        elif one != other or (key in then) != (key in now):
            found.append(f"{prefix}{key}: {_short(one)} then, {_short(other)} now")
    return found


def _short(value: Any) -> str:
    text = "none" if value in (None, "") else str(value)
    return text if len(text) <= _VALUE_LENGTH else f"{text[:_VALUE_LENGTH]}..."


def _distribution(simulation: dict[str, Any]) -> dict[str, Any]:
    """Settings of scenes as they come back from JSON, structure files by name and content: folders may move."""
    plain: dict[str, Any] = _plain(simulation)
    other = plain.get("other")
    if isinstance(other, dict) and isinstance(other.get("cif"), list):
        other["cif"] = [_file_content(Path(path)) for path in other["cif"]]
    return plain


def _file_content(path: Path) -> str:
    """Name and hash of a file, or its path where it can not be read: the simulator says so when it needs it."""
    try:
        return f"{path.name} sha256 {hashlib.sha256(path.read_bytes()).hexdigest()}"
    except OSError:
        return str(path)


def _content(scenes: Sequence[Scene]) -> str:
    """sha256 of what is learned from scenes, in their order, which decides who validates; not of names and folders."""
    if not scenes:
        return ""
    digest = hashlib.sha256()
    for scene in scenes:
        table = scene.columns.table.select_dtypes(["number", "bool"]).astype(np.float64)
        parts = {
            "image": scene.micrograph.image,
            "pixel": np.asarray(scene.micrograph.calibration.pixel_size_nm),
            "crystal": scene.crystal,
            "clean": np.zeros(0) if scene.clean is None else scene.clean,
            **{name: table[name].to_numpy() for name in sorted(table.columns)},
        }
        for name, values in parts.items():
            digest.update(f"{name} {values.dtype.str} {values.shape} ".encode())
            digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    """Value as it comes back from JSON: tuples as lists."""
    return json.loads(json.dumps(value))


def write_settings(config: TrainConfig, simulation: SceneConfig, output: Path) -> None:
    """Keep the settings of a run beside its results, for people."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        (output / "train.json").write_text(json.dumps(asdict(config), indent=1) + "\n", encoding="utf-8")
        (output / "simulation.json").write_text(json.dumps(asdict(simulation), indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        raise OutputError(f"can not write the run to {output}: {error}") from error
