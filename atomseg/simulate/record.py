"""What is kept of a scene beside its image: every number drawn, ready for JSON, and tables without rows."""

from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from atomseg.simulate.detector import Tone
from atomseg.simulate.imaging import Imaging
from atomseg.simulate.structure import Structure

_LARGEST_ARRAY = 16  # profiles, fields and jitter are not numbers that a person reads


def parameters(structure: Structure, imaging: Imaging, tone: Tone) -> dict[str, object]:
    """Numbers of a scene by part; long arrays are left out (their rms is in the part's other numbers)."""
    return {
        "kind": structure.kind,
        "name": structure.name,
        "second_domain": structure.second,
        "outline": _plain(structure.outline),
        "foil": _plain(structure.foil),
        "lattices": _plain(structure.lattices),
        "layers": _plain(structure.layers),
        "faults": _plain(structure.faults),
        "defects": _plain(structure.defects),
        "boundary": _plain(structure.boundary),
        "scan": _plain(imaging.scan),
        "profile": _plain(imaging.profile),
        "detector": _plain(imaging.detector),
        "peak_counts": imaging.peak_counts,
        "tone": _plain(tone),
    }


def no_rows(names: tuple[str, ...]) -> pd.DataFrame:
    """Table with the given columns and no row."""
    return _no_rows(names).copy()


@cache
def _no_rows(names: tuple[str, ...]) -> pd.DataFrame:
    # Making these tables anew took a quarter of the time of a training image; a copy costs nothing.
    return pd.DataFrame(columns=list(names), index=range(0))


def _plain(value: Any) -> Any:
    """Nested dataclasses, tuples and small arrays as dicts, lists and numbers; anything else is dropped as None."""
    if is_dataclass(value) and not isinstance(value, type):
        items = {f.name: getattr(value, f.name) for f in fields(value)}
        return {name: _plain(v) for name, v in items.items() if not _is_long(v)}
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        return value.item()
    return value if isinstance(value, str | int | float | bool | None) else None


def _is_long(value: Any) -> bool:
    return isinstance(value, np.ndarray) and value.size > _LARGEST_ARRAY
