"""Layer table: what the gaps between two TM rows say together, and the stacking sequence across the crystal."""

from itertools import pairwise

import numpy as np
import pandas as pd

from atomseg.classify.frames import Frames, unit_across
from atomseg.types import Check, Phase, Verdict
from atomseg.types.layers import LAYER_FIELDS, LAYER_LABELS, Stacking

# Fewer gaps than this are the corner of a layer, not a layer.
FEWEST_GAPS = 4
# A layer has one stacking when this share of its judged gaps has.
ONE_STACKING = 0.85
# Stackings that lie on top of each other along the beam show shifts between theirs: 1/6 within this, in periods.
OVERLAP_WIDTH = 0.06
# H1-3: every other layer O1, at least this many in turn (Van der Ven et al. 1998, 10.1103/PhysRevB.58.2975).
ALTERNATING = 4
# Half-order modulation of the brightness that counts: 3 errors and 5 %, above the scatter of TM columns' composition.
DOUBLING_ERRORS, DOUBLING_LEAST = 3.0, 0.05
LETTERS = dict(zip(LAYER_LABELS, "+-0xa?", strict=True))


def layer_table(gaps: pd.DataFrame, yx_nm: np.ndarray, amplitude: np.ndarray, frames: Frames) -> pd.DataFrame:
    """One row a pair of successive TM rows, `LAYER_FIELDS`.

    Parameters
    ----------
    gaps : pandas.DataFrame
        Gaps with their phase, from `classify`.
    yx_nm : numpy.ndarray
        (N, 2) columns, nm.
    amplitude : numpy.ndarray
        (N,) their amplitudes.
    frames : Frames
        Their local frames.
    """
    if len(gaps) == 0:
        return pd.DataFrame({name: pd.Series(dtype=_TYPES.get(name, float)) for name in LAYER_FIELDS})
    lower, upper = gaps["lower"].to_numpy(), gaps["upper"].to_numpy()
    row = 0.5 * (frames.row[lower] + frames.row[upper])
    unit = row / np.linalg.norm(row, axis=1, keepdims=True)
    delta = yx_nm[upper] - yx_nm[lower]
    spacing = np.abs(delta[:, 0] * unit[:, 1] - delta[:, 1] * unit[:, 0])
    middle = 0.5 * (yx_nm[lower] + yx_nm[upper])
    values = {name: gaps[name].to_numpy() for name in ("row_lower", "row_upper", *_OF_GAP)}
    along = (middle * unit).sum(axis=1)
    values |= {"spacing": spacing, "middle": middle, "along": along, "brightness": amplitude[lower]}
    order = np.lexsort((values["row_upper"], values["row_lower"]))
    changes = [np.diff(values[name][order]) != 0 for name in ("row_lower", "row_upper")]
    ends = np.flatnonzero(changes[0] | changes[1]) + 1
    # Arrays: taking a table apart a hundred times costs more than everything else here.
    rows = [
        _one_layer({name: value[part] for name, value in values.items()})
        for part in np.split(order, ends)
        if len(part) >= FEWEST_GAPS
    ]
    layers = pd.DataFrame(rows, columns=list(LAYER_FIELDS)).astype(_TYPES)
    layers["position"] = _positions(layers, frames)
    layers = layers.sort_values(["domain", "position"], kind="stable").reset_index(drop=True)
    return layers.assign(label=_with_alternation(layers))


_OF_GAP = ("domain", "shift", "occupancy", "occupancy_err", "phase")
_TYPES = {"row_lower": int, "row_upper": int, "domain": int, "n_columns": int, "label": str, "overlap": bool}


def _one_layer(part: dict[str, np.ndarray]) -> dict[str, object]:
    """Means of one layer with their standard errors, its label and flags, from arrays of its gaps."""
    shift, spacing = part["shift"], part["spacing"]
    # A shift is defined modulo one period: the mean is that of the turns.
    mean = float(np.angle(np.exp(2j * np.pi * shift).mean())) / (2 * np.pi)
    away = (shift - mean + 0.5) % 1.0 - 0.5
    n = len(shift)
    doubling, doubling_err = half_order(part["brightness"][np.argsort(part["along"])])
    weight = 1.0 / np.maximum(part["occupancy_err"], 1e-3) ** 2
    y_nm, x_nm = part["middle"].mean(axis=0)
    return {
        "row_lower": part["row_lower"][0],
        "row_upper": part["row_upper"][0],
        "domain": int(part["domain"][0]),
        "position": 0.0,
        "y_nm": float(y_nm),
        "x_nm": float(x_nm),
        "n_columns": n,
        "shift": mean,
        "shift_err": float(np.std(away, ddof=1) / np.sqrt(n)),
        "spacing_nm": float(spacing.mean()),
        "spacing_err_nm": float(np.std(spacing, ddof=1) / np.sqrt(n)),
        "occupancy": float(np.average(part["occupancy"], weights=weight)),
        "occupancy_err": float(np.median(part["occupancy_err"])),
        "label": _label(part["phase"], shift),
        # All along the layer, or it is a fault that ends in it.
        "overlap": bool(abs(abs(mean) - 1 / 6) < OVERLAP_WIDTH and float(np.median(np.abs(away))) < OVERLAP_WIDTH),
        "doubling": doubling,
        "doubling_err": doubling_err,
    }


def _label(phase: np.ndarray, shift: np.ndarray) -> str:
    """Stacking of a layer from the phases and shifts of its gaps."""
    judged = phase != Phase.UNRESOLVED
    if judged.mean() < 0.5:
        return "unresolved"
    o1 = float((phase[judged] == Phase.O1).mean())
    if o1 >= ONE_STACKING:
        return "O1"
    if o1 > 1 - ONE_STACKING:
        return "mixed"
    third = shift[judged & (phase != Phase.O1)]
    positive = float((third > 0).mean())
    if max(positive, 1 - positive) < ONE_STACKING:
        return "mixed"
    return "O3+" if positive > 0.5 else "O3-"


def half_order(brightness: np.ndarray) -> tuple[float, float]:
    """Relative alternation of the brightness along a row, and its standard error.

    Each column is compared with the mean of its two neighbours, which takes slopes away; full, half, full, half as in
    spinel gives 1/3, equal columns 0.
    """
    if len(brightness) < 6:
        return float("nan"), float("nan")
    swing = brightness[1:-1] - 0.5 * (brightness[:-2] + brightness[2:])
    swing = swing * (-1.0) ** np.arange(len(swing)) / 2.0 / brightness.mean()
    # Three neighbouring terms share columns: their errors add up to 8/3 of independent ones.
    error = float(np.std(swing, ddof=1) * np.sqrt(8 / 3) / np.sqrt(len(swing)))
    return float(abs(swing.mean())), error


def _positions(layers: pd.DataFrame, frames: Frames) -> np.ndarray:
    """Height of each layer along the normal of its domain, nm."""
    out = np.zeros(len(layers))
    for k in range(len(frames.shift_offset)):
        mine = (layers["domain"] == k).to_numpy()
        out[mine] = layers.loc[mine, ["y_nm", "x_nm"]].to_numpy() @ unit_across(frames.typical_row(k))
    return out


def _stacks(layers: pd.DataFrame) -> list[list[int]]:
    """Layers on top of each other: each starts at the row where the one below ends."""
    of_row = {int(row): i for i, row in enumerate(layers["row_lower"])}
    above = [of_row.get(int(row), -1) for row in layers["row_upper"]]
    started = set(range(len(layers))) - set(above)
    stacks = []
    for first in sorted(started):
        stack, at, seen = [], first, set()
        while at >= 0 and at not in seen:
            stack.append(at)
            seen.add(at)
            at = above[at]
        stacks.append(stack)
    return stacks


def _with_alternation(layers: pd.DataFrame) -> list[str]:
    """Labels, with runs of O3 and O1 in turn named as the sequence that they are."""
    label = list(layers["label"])
    for stack in _stacks(layers):
        kind = ["0" if label[i] == "O1" else "3" if label[i] in ("O3+", "O3-") else "x" for i in stack]
        start = 0
        for end in range(1, len(stack) + 1):
            if end < len(stack) and kind[end] != kind[end - 1] and "x" not in (kind[end], kind[end - 1]):
                continue
            if end - start >= ALTERNATING and "0" in kind[start:end]:
                for i in stack[start:end]:
                    label[i] = "alternating (H1-3)"
            start = end
    return label


def stacking(layers: pd.DataFrame) -> Stacking:
    """Sequence, counts, twins and flags of a layer table."""
    if len(layers) == 0:
        return Stacking()
    stacks = _stacks(layers)
    longest = max(stacks, key=len) if stacks else []
    label = list(layers["label"])
    twins = 0
    for stack in stacks:
        senses = [label[i] for i in stack if label[i] in ("O3+", "O3-")]
        twins += sum(a != b for a, b in pairwise(senses))
    doubled = (layers["doubling"] > DOUBLING_ERRORS * layers["doubling_err"]) & (layers["doubling"] > DOUBLING_LEAST)
    return Stacking(
        sequence="".join(LETTERS[label[i]] for i in longest),
        counts={name: label.count(name) for name in LAYER_LABELS if name in label},
        twins=twins,
        overlap=int(layers["overlap"].sum()),
        doubled=int(doubled.sum()),
    )


def stacking_checks(found: Stacking) -> list[Check]:
    """What the layers show that a phase map has no colour for."""
    n = max(1, sum(found.counts.values()))

    def check(name: str, layers: int, message: str) -> Check:
        told = layers >= 2 and layers / n > 0.1
        return Check(name, round(layers / n, 4), Verdict.WARN if told else Verdict.OK, message if told else "")

    return [
        check(
            "doubled_period",
            found.doubled,
            "columns alternate in brightness along the rows, as in spinel: no phase of this map is meant for it",
        ),
        check(
            "stacking_overlap",
            found.overlap,
            "layers are shifted by about a sixth of the period, as stackings on top of each other along the beam are: "
            "O1 and O3 can not be told there",
        ),
    ]
