"""Ranges of configurations and their validation."""

from dataclasses import fields

from atomseg.errors import ConfigError
from atomseg.types import StageConfig

Range = tuple[float, float]


def check_ranges(config: StageConfig, bounds: dict[str, Range]) -> None:
    """Raise ConfigError where a range is reversed or leaves its bounds, or a probability leaves 0 to 1."""
    for f in fields(config):
        value = getattr(config, f.name)
        where = f"{type(config).__name__}.{f.name}"
        if f.name in bounds:
            low, high = value if isinstance(value, tuple) else (value, value)
            floor, ceiling = bounds[f.name]
            if not floor <= low <= high <= ceiling:
                raise ConfigError(f"{where} is {value}; allowed: low <= high within {floor:g} to {ceiling:g}")
