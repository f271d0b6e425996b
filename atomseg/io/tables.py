"""Tables as CSV: fixed columns and a sensible number of digits for people, exact types when they are read back."""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from atomseg.errors import OutputError
from atomseg.imaging import at_nearest_pixels
from atomseg.io.foreign import first_line
from atomseg.types import AnalysisRecord, ColumnFlag, Phase, decode_flags
from atomseg.types.columns import LOCALIZATION_FIELDS
from atomseg.types.phases import PHASE_FIELDS

# columns.csv: localization, phase, then depth and flags.
COLUMN_TABLE_FIELDS = (
    *(name for name in LOCALIZATION_FIELDS if name != "flags"),
    *PHASE_FIELDS,
    "depth_nm",
    "flags",
)

# Digits after the point: a tenth of what the best fit resolves. Everything else gets six significant digits.
_DECIMALS = {
    **dict.fromkeys(("y_px", "x_px"), 4),
    **dict.fromkeys(("y_nm", "x_nm"), 6),
    **dict.fromkeys(("sigma_y_pm", "sigma_x_pm"), 3),
    **dict.fromkeys(("fwhm_major_nm", "fwhm_minor_nm"), 5),
    **dict.fromkeys(("theta_deg", "normal_deg", "facet_deg"), 3),
    **dict.fromkeys(("probability", "p_layered", "p_rocksalt", "p_o1", "p_unresolved"), 5),
    **dict.fromkeys(("stacking_shift", "interlayer_occupancy", "interlayer_occupancy_err"), 5),
    **dict.fromkeys(("depth_nm", "s_nm", "thickness_nm", "lower_nm", "upper_nm", "t_50_nm", "t_rocksalt_nm"), 4),
    **dict.fromkeys(("t_mix_nm", "front_width_nm", "available_nm", "length_nm", "surface_distance_nm"), 4),
}
_PHASE_BY_LABEL = {phase.label: int(phase) for phase in Phase}


def columns_table(record: AnalysisRecord) -> pd.DataFrame:
    """The table of ``columns.csv``: one row a column, phase and flags in words, ``depth_nm`` from the depth map."""
    located = record.localized.table.reset_index(drop=True)
    judged = record.phases.columns.reset_index(drop=True)
    table = pd.concat(
        [located[[name for name in LOCALIZATION_FIELDS if name != "flags"]], judged[list(PHASE_FIELDS)]], axis=1
    )
    table["phase"] = phase_labels(judged["phase"])
    table["depth_nm"] = at_nearest_pixels(record.thickness.depth_nm, record.localized.yx_px).astype(float)
    table["flags"] = pd.Series([decode_flags(int(value)) for value in located["flags"]], dtype=object)
    return table[list(COLUMN_TABLE_FIELDS)]


def phase_labels(codes: pd.Series) -> pd.Series:
    """Phase names for codes."""
    return pd.Series([Phase(int(code)).label for code in codes], index=codes.index, dtype=object)


def phase_codes(labels: pd.Series) -> pd.Series:
    """Phase codes for names.

    Raises
    ------
    OutputError
        If a name is not one of a phase.
    """
    unknown = sorted(set(labels) - set(_PHASE_BY_LABEL))
    if unknown:
        raise OutputError(f"phase {unknown[0]!r} in a table is not one of {', '.join(_PHASE_BY_LABEL)}")
    return pd.Series([_PHASE_BY_LABEL[label] for label in labels], index=labels.index, dtype=np.int64)


def flag_values(words: pd.Series) -> pd.Series:
    """Flag numbers for words joined by ``|``.

    Raises
    ------
    OutputError
        If a word is not a flag.
    """
    known = {flag.name.lower(): flag.value for flag in ColumnFlag if flag.name}
    values = []
    for text in words:
        parts = [word for word in str(text).split("|") if word]
        if not known.keys() >= set(parts):
            raise OutputError(f"flags {text!r} in columns.csv are not among {', '.join(known)}")
        values.append(sum(known[word] for word in parts))
    return pd.Series(values, index=words.index, dtype=np.int64)


def write_table(path: Path, table: pd.DataFrame) -> None:
    """A table with a readable number of digits; an empty field is an unknown number."""
    shown = {name: _formatted(name, table[name]) for name in table.columns}
    pd.DataFrame(shown, columns=table.columns).to_csv(path, index=False, lineterminator="\n", encoding="utf-8")


def write_exact_table(path: Path, table: pd.DataFrame) -> None:
    """A table whose numbers read back as the very same numbers."""
    table.to_csv(path, index=False, lineterminator="\n", encoding="utf-8")


def table_types(table: pd.DataFrame) -> dict[str, str]:
    """Type of every column, for `read_table`: ``int``, ``float``, ``bool`` or ``text``."""
    names = {"i": "int", "u": "int", "f": "float", "b": "bool"}
    return {
        str(name): names.get(np.dtype(kind).kind if isinstance(kind, np.dtype) else "O", "text")
        for name, kind in table.dtypes.items()
    }


def read_table(path: Path, types: Mapping[str, str], required: Sequence[str] = ()) -> pd.DataFrame:
    """A table with the types that `table_types` noted.

    Parameters
    ----------
    path : pathlib.Path
        CSV file.
    types : mapping
        Type by column; a column without one is read as numbers.
    required : sequence of str
        Columns that must be there.

    Raises
    ------
    OutputError
        If the file is missing, damaged, or lacks a column.
    """
    try:
        # Text first: how exactly a reader turns digits into numbers has changed between versions of pandas.
        texts = pd.read_csv(path, dtype=str, keep_default_na=False, encoding="utf-8")
        columns = {name: _parsed(texts[name], types.get(name, "float")) for name in texts.columns}
    except (OSError, ValueError, TypeError) as exc:
        raise OutputError(f"{path} can not be read back: {first_line(exc)}") from exc
    missing = [name for name in required if name not in columns]
    if missing:
        raise OutputError(f"{path} lacks the columns {', '.join(missing)}")
    return pd.DataFrame(columns, columns=list(columns))


def _parsed(texts: pd.Series, kind: str) -> np.ndarray:
    if kind == "int":
        return np.array([int(text) for text in texts], dtype=np.int64)
    if kind == "bool":
        return np.array([text == "True" for text in texts], dtype=bool)
    if kind == "text":
        return np.array([str(text) for text in texts], dtype=object)
    return np.array([float(text) if text else math.nan for text in texts], dtype=np.float64)


def _formatted(name: str, values: pd.Series) -> pd.Series:
    if values.dtype.kind != "f":
        return values
    digits = f".{_DECIMALS[name]}f" if name in _DECIMALS else ".6g"
    # Plain numbers: those of numpy take three times as long to print.
    texts = ["" if math.isnan(value) else format(value, digits) for value in values.tolist()]
    return pd.Series(texts, index=values.index, dtype=object)
