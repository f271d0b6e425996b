"""Configurations: the stages' settings put together, YAML in and out.

A configuration file only names what differs from the defaults. Nothing is ignored: an unknown key, a key given twice,
a value of the wrong type or out of range stops with one line that names the file, the key, the value and what is
allowed.
"""

import dataclasses
import difflib
import json
import math
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError

from atomseg.classify import ClassifyConfig
from atomseg.errors import ConfigError
from atomseg.infer import InferConfig
from atomseg.localize import LocalizeConfig
from atomseg.measure import LatticeConfig, MeasureConfig
from atomseg.types import StageConfig

if TYPE_CHECKING:
    from atomseg.simulate import SceneConfig
    from atomseg.train import TrainConfig

_T = TypeVar("_T")

_PACKAGE = Path(__file__).resolve().parent


@dataclass(frozen=True, kw_only=True)
class MapConfig(StageConfig):
    """Settings of the stages of `atomseg map`; `configs/map/default.yaml` explains every key.

    Parameters
    ----------
    infer : InferConfig
        Tiles and batches of the network.
    localize : LocalizeConfig
        Peaks and the fit of the columns.
    classify : ClassifyConfig
        Lattice, stacking, occupancy and phases.
    measure : MeasureConfig
        Surface, depth, thickness and its classes.
    lattice : LatticeConfig
        Layer spacing, strain, rotation, dislocations.
    """

    infer: InferConfig = field(default_factory=InferConfig)
    localize: LocalizeConfig = field(default_factory=LocalizeConfig)
    classify: ClassifyConfig = field(default_factory=ClassifyConfig)
    measure: MeasureConfig = field(default_factory=MeasureConfig)
    lattice: LatticeConfig = field(default_factory=LatticeConfig)


def load_map_config(path: str | Path | None = None, overrides: Iterable[str] = ()) -> MapConfig:
    """Settings for `map_micrograph` from a file, then from single keys.

    Parameters
    ----------
    path : str or pathlib.Path, optional
        YAML file, the name of a shipped one (``default``), or the ``summary.json`` of a result, whose settings are then
        used again; None starts from the defaults.
    overrides : iterable of str
        ``key=value`` with dots between levels and the value in YAML, e.g. ``measure.point_spacing_nm=0.5``; the last of
        a key wins.

    Raises
    ------
    ConfigError
        If the file can not be read, or a key or value is not allowed.
    """
    data, where = ({}, "the defaults") if path is None else _read(path, "map")
    data = _settings_of_result(data, where)
    overrides = list(overrides)
    if overrides:
        for override in overrides:
            _apply_override(data, override)
        where = "--set" if path is None else f"{where} with --set"
    return _validated(MapConfig, data, where)


def load_simulation_config(path: str | Path) -> "SceneConfig":
    """Settings of the simulator from a YAML file or the name of a shipped one, e.g. ``cathode_surface``.

    Raises
    ------
    ConfigError
        If the file can not be read, or a key or value is not allowed.
    """
    from atomseg.simulate import SceneConfig

    data, where = _read(path, "simulate")
    _structures_beside(data, where)
    return _validated(SceneConfig, data, where)


def load_train_config(path: str | Path) -> "tuple[TrainConfig, SceneConfig]":
    """Settings of a training run and of the scenes that it trains on.

    The file holds the keys of `TrainConfig` and one more, ``simulation``: the scene settings themselves, or a YAML file
    (seen from this file's folder), or the name of a shipped one.

    Raises
    ------
    ConfigError
        If a file can not be read, or a key or value is not allowed.
    """
    from atomseg.simulate import SceneConfig
    from atomseg.train import TrainConfig

    data, where = _read(path, "train")
    simulation = data.pop("simulation", None)
    if simulation is None:
        raise ConfigError(
            f"{where}: key 'simulation' is missing; give the scene settings or the name of a shipped file"
        )
    config = _validated(TrainConfig, data, where, also=("simulation",))
    if isinstance(simulation, str):
        beside = Path(where).parent / simulation
        return config, load_simulation_config(beside if beside.is_file() else simulation)
    _structures_beside(simulation, where)
    return config, _validated(SceneConfig, simulation, where, prefix="simulation.")


def dump_config(config: StageConfig) -> str:
    """A configuration as YAML with every key, which reads back as the same configuration."""
    return yaml.safe_dump(config_dict(config), sort_keys=False, allow_unicode=True, width=120)


def config_dict(config: StageConfig) -> dict[str, object]:
    """A configuration as plain mappings, lists, numbers and strings, ready for JSON and YAML."""
    return {f.name: _plain(getattr(config, f.name)) for f in dataclasses.fields(config)}


def shipped_configs(kind: str) -> dict[str, Path]:
    """Files that come with atomseg, by name.

    Parameters
    ----------
    kind : str
        ``map``, ``simulate`` or ``train``.
    """
    # An installed package carries the files inside; in a checkout they lie beside it.
    folders = (_PACKAGE.parent / "configs" / kind, _PACKAGE / "_configs" / kind)
    return {file.stem: file for folder in folders for file in sorted(folder.glob("*.yaml"))}


def _plain(value: Any) -> Any:
    if isinstance(value, StageConfig):
        return config_dict(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return str(value) if isinstance(value, Path) else value


class _Loader(yaml.SafeLoader):
    """YAML as people write it: 1e-3 is a number, and a key given twice is a mistake."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, Hashable):
                if key in seen:
                    raise ConfigError(f"line {key_node.start_mark.line + 1}: key '{key}' is given twice")
                seen.add(key)
        return super().construct_mapping(node, deep)


# YAML 1.1 wants a point and a signed exponent (1.0e-3); everybody else writes 1e-3 or 2e5.
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+$"), list("-+.0123456789")
)


def _parse(text: str) -> Any:
    return yaml.load(text, Loader=_Loader)


def _read(path: str | Path, kind: str) -> tuple[dict[str, Any], str]:
    file = _find(path, kind)
    try:
        data = _parse(file.read_text(encoding="utf-8"))
    except ConfigError as exc:
        raise ConfigError(f"{file}: {exc}") from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{file} can not be read: {exc}") from exc
    except yaml.YAMLError as exc:
        raise ConfigError(f"{file} is not YAML: {' '.join(str(exc).split())}") from exc
    if data is None:
        data = {}
    if not isinstance(data, dict):
        raise ConfigError(f"{file}: expected keys with values, got {type(data).__name__}")
    return data, str(file)


def _settings_of_result(data: dict[str, Any], where: str) -> dict[str, Any]:
    """The settings that a summary.json holds; any other content as it is."""
    if not str(data.get("schema", "")).startswith("atomseg.summary/"):
        return data
    provenance = data.get("provenance")
    kept = provenance.get("config") if isinstance(provenance, dict) else None
    if not isinstance(kept, dict):
        raise ConfigError(f"{where}: this summary holds no settings (provenance.config); map the input again")
    # What was said about the input (pixel size, frame) belongs to that file, not to the settings of the stages.
    return {key: value for key, value in kept.items() if key != "input"}


def _structures_beside(simulation: Any, where: str) -> None:
    """Paths of structure files, which are seen from the configuration file, made absolute."""
    other = simulation.get("other") if isinstance(simulation, dict) else None
    if not isinstance(other, dict) or not isinstance(other.get("cif"), list):
        return
    paths = other["cif"]
    other["cif"] = [str((Path(where).parent / p).resolve()) if isinstance(p, str) else p for p in paths]
    missing = [p for p in other["cif"] if isinstance(p, str) and not Path(p).is_file()]
    if missing:
        raise ConfigError(f"{where}: key 'other.cif' names {missing[0]}, which is not there; paths start at this file")


def _find(path: str | Path, kind: str) -> Path:
    given = Path(path)
    if given.is_file():
        return given
    shipped = shipped_configs(kind)
    if str(path) in shipped:
        return shipped[str(path)]
    names = ", ".join(sorted(shipped)) or "none"
    raise ConfigError(
        f"no configuration '{path}': neither a file nor one of the shipped {kind} configurations ({names})"
    )


def _apply_override(data: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise ConfigError(f"--set {override}: expected key=value, e.g. --set measure.point_spacing_nm=0.5")
    try:
        value = _parse(text)
    except (yaml.YAMLError, ConfigError) as exc:
        raise ConfigError(f"--set {override}: the value is not YAML: {' '.join(str(exc).split())}") from exc
    for part in parts[:-1]:
        inner = data.setdefault(part, {})
        if not isinstance(inner, dict):
            raise ConfigError(f"--set {override}: '{part}' holds a value, not further keys")
        data = inner
    data[parts[-1]] = value


def _validated(cls: type[_T], data: Any, where: str, *, prefix: str = "", also: Sequence[str] = ()) -> _T:
    """Data checked against a config class; strict, so that "3" is not a number and 1 is not true."""
    nan_key = _first_nan(data)
    if nan_key is not None:
        raise ConfigError(f"{where}: key '{prefix}{nan_key}' has value nan; give a number")
    try:
        # Through JSON, because strict Python input would refuse a list for a tuple and a string for an enum.
        return TypeAdapter(cls).validate_json(json.dumps(data, default=str), strict=True)
    except ValidationError as exc:
        problem = exc.errors(include_url=False)[0]
        raise ConfigError(f"{where}: {_explain(cls, dict(problem), prefix, also)}") from exc
    except ConfigError as exc:
        raise ConfigError(f"{where}: {exc}") from exc


def _first_nan(data: Any, key: str = "") -> str | None:
    """Key of the first NaN: range checks may let it pass, because every comparison with it is false."""
    if isinstance(data, float):
        return key if math.isnan(data) else None
    items = data.items() if isinstance(data, dict) else enumerate(data) if isinstance(data, list) else ()
    inner = (_first_nan(item, f"{key}.{name}" if key else str(name)) for name, item in items)
    return next((found for found in inner if found is not None), None)


def _explain(cls: type, problem: dict[str, Any], prefix: str, also: Sequence[str]) -> str:
    path = [str(part) for part in problem["loc"]]
    key = prefix + ".".join(path)
    if problem["type"] in {"unexpected_keyword_argument", "extra_forbidden"}:
        allowed = _keys_at(cls, path[:-1])
        if len(path) == 1:
            allowed += list(also)
        near = difflib.get_close_matches(path[-1], allowed, n=3) or _elsewhere(cls, path[-1])
        hint = f"; did you mean {' or '.join(repr(name) for name in near)}?" if near else ""
        return f"unknown key '{key}'{hint} (allowed here: {', '.join(allowed)})"
    message = str(problem["msg"]).removeprefix("Value error, ").removeprefix("Input ")
    return f"key '{key}' has value {problem['input']!r}: {message}" if key else f"{message}, got {problem['input']!r}"


def _keys_at(cls: type, path: Sequence[str]) -> list[str]:
    """Keys that the config class reached by `path` has; empty where the path leaves what can be followed."""
    for part in path:
        inner = get_type_hints(cls).get(part) if dataclasses.is_dataclass(cls) else None
        if not isinstance(inner, type):
            return []
        cls = inner
    return [f.name for f in dataclasses.fields(cls)] if dataclasses.is_dataclass(cls) else []


def _elsewhere(cls: type, name: str) -> list[str]:
    """Full keys of sections that hold this name: people forget the section."""
    return [f"{section}.{name}" for section in _keys_at(cls, []) if name in _keys_at(cls, [section])]
