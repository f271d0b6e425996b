"""The numbers that compare an analysis with the truth."""

from dataclasses import dataclass

import numpy as np

from atomseg.evaluate.match import match_columns, required_mask
from atomseg.types import Columns, Phase, PhaseMap, ReconstructionProfile
from atomseg.units import PM_PER_NM

# A 90 % ellipse of two independent normal errors: the 0.9 quantile of chi² with two degrees of freedom, -2 ln 0.1.
CHI2_90 = 4.605170185988092
N_TRUE = 4  # none and the three phases: truth never abstains
_CODES = {phase.label: int(phase) for phase in Phase} | {phase.key: int(phase) for phase in Phase}


@dataclass(frozen=True)
class Detection:
    """Columns found within a radius; true columns that are not required count neither way.

    Parameters
    ----------
    precision, recall, f1 : float
        Of required true columns; 0 where there is nothing to divide by.
    hits, false, missed : int
        Required columns found, found columns that are no true one, required columns not found.
    """

    precision: float
    recall: float
    f1: float
    hits: int
    false: int
    missed: int


@dataclass(frozen=True)
class Precision:
    """Position errors of matched required columns.

    Parameters
    ----------
    rmse_pm : float or None
        Root mean squared distance, both coordinates together; None when nothing matched.
    bias_pm : tuple of float or None
        Mean error (y, x).
    coverage90 : float or None
        Share of the errors, less their mean, inside their own 90 % ellipses.
    """

    rmse_pm: float | None
    bias_pm: tuple[float, float] | None
    coverage90: float | None


@dataclass(frozen=True)
class Agreement:
    """Phases against true phases.

    Parameters
    ----------
    confusion : tuple of tuple of int
        Rows: true none, R-3m, rocksalt, O1. Columns: the same, then unresolved.
    iou : dict
        Intersection over union by `Phase.key`, of phases present in the truth.
    mean_iou, accuracy, abstention : float or None
        Mean of `iou`; share of the right ones; share of true crystal left unresolved. An abstention is a miss.
    """

    confusion: tuple[tuple[int, ...], ...]
    iou: dict[str, float]
    mean_iou: float | None
    accuracy: float | None
    abstention: float | None


@dataclass(frozen=True)
class ThicknessScore:
    """Mean thickness against the true one.

    Parameters
    ----------
    true_nm, found_nm, error_nm : float or None
        Error only where the truth is not censored.
    inside : bool or None
        The true mean lies between the reported bounds.
    censoring_right : bool
        Censored where the truth is, and only there.
    class_right : bool
        Same class. A layer whose true end is out of view may also be reported as censored without a class.
    """

    true_nm: float | None
    found_nm: float | None
    error_nm: float | None
    inside: bool | None
    censoring_right: bool
    class_right: bool


def detection(found: Columns, true: Columns, radius_nm: float) -> Detection:
    """Precision, recall and F1 of columns within a radius (nm)."""
    required = required_mask(true)
    pairs = match_columns(found, true, radius_nm)
    hits = int(required[pairs[:, 1]].sum())
    false, missed = len(found) - len(pairs), int(required.sum()) - hits
    precision, recall = hits / max(hits + false, 1), hits / max(hits + missed, 1)
    f1 = 2.0 * hits / max(2 * hits + false + missed, 1)
    return Detection(precision, recall, f1, hits, false, missed)


def position_errors(found: Columns, true: Columns, pairs: np.ndarray) -> Precision:
    """Errors of matched required columns; `pairs` from `match_columns`."""
    chosen = pairs[required_mask(true)[pairs[:, 1]]]
    if not len(chosen):
        return Precision(None, None, None)
    error_nm = found.yx_nm[chosen[:, 0]] - true.yx_nm[chosen[:, 1]]
    bias_nm = error_nm.mean(0)
    sigma_nm = np.maximum(found.sigma_nm[chosen[:, 0]], 1e-9)
    inside = (((error_nm - bias_nm) / sigma_nm) ** 2).sum(1) <= CHI2_90
    rmse = float(np.sqrt((error_nm**2).sum(1).mean())) * PM_PER_NM
    bias = bias_nm * PM_PER_NM
    return Precision(rmse, (float(bias[0]), float(bias[1])), float(inside.mean()))


def phase_codes(values: np.ndarray) -> np.ndarray:
    """(N,) int64 phase codes from codes, labels (R-3m) or keys (layered); anything else is unresolved.

    Parameters
    ----------
    values : numpy.ndarray
        (N,) numbers or strings.
    """
    if np.issubdtype(values.dtype, np.number):
        whole = np.where(np.isfinite(values), values, int(Phase.UNRESOLVED)).astype(np.int64)
        return np.where((whole >= 0) & (whole <= int(Phase.UNRESOLVED)), whole, int(Phase.UNRESOLVED))
    return np.array([_CODES.get(str(v), int(Phase.UNRESOLVED)) for v in values], dtype=np.int64)


def agreement(found: np.ndarray, true: np.ndarray) -> Agreement:
    """Confusion and what follows from it.

    Parameters
    ----------
    found, true : numpy.ndarray
        Phase codes of the same shape; places where the truth is unresolved are left out.

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    if found.shape != true.shape:
        raise ValueError(f"phases of shape {found.shape} can not be compared with truth of shape {true.shape}")
    known = true < N_TRUE
    flat = true[known].astype(np.int64) * (N_TRUE + 1) + np.minimum(found[known], N_TRUE)
    confusion = np.bincount(flat, minlength=N_TRUE * (N_TRUE + 1)).reshape(N_TRUE, N_TRUE + 1)
    iou = {}
    for phase in list(Phase)[:N_TRUE]:
        hit, there, said = confusion[phase, phase], confusion[phase].sum(), confusion[:, phase].sum()
        if there:
            iou[phase.key] = float(hit / (there + said - hit))
    total, crystal = int(confusion.sum()), int(confusion[1:].sum())
    return Agreement(
        confusion=tuple(tuple(int(v) for v in row) for row in confusion),
        iou=iou,
        mean_iou=float(np.mean(list(iou.values()))) if iou else None,
        accuracy=float(np.trace(confusion) / total) if total else None,
        abstention=float(confusion[1:, N_TRUE].sum() / crystal) if crystal else None,
    )


def column_agreement(phases: PhaseMap, true: Columns, pairs: np.ndarray) -> Agreement | None:
    """Phases of matched columns; beside a fault the truth's `phase_alt` is right too. None when truth has no phases."""
    if "phase" not in true.table.columns:
        return None
    found = phase_codes(phases.columns["phase"].to_numpy())[pairs[:, 0]]
    truth = phase_codes(true.table["phase"].to_numpy())[pairs[:, 1]]
    if "phase_alt" in true.table.columns:
        other = phase_codes(true.table["phase_alt"].to_numpy())[pairs[:, 1]]
        truth = np.where((other < N_TRUE) & (other > 0) & (found == other), other, truth)
    return agreement(found, truth)


def thickness_score(found: ReconstructionProfile, true: ReconstructionProfile) -> ThicknessScore | None:
    """Thickness of all surfaces together; None when there is no true surface in view."""
    if true.summary is None:
        return None
    truth, told = true.summary, found.summary
    if told is None:
        return ThicknessScore(truth.mean_nm, None, None, None, False, False)
    comparable = not truth.censored and truth.mean_nm is not None and told.mean_nm is not None
    error = float(told.mean_nm - truth.mean_nm) if comparable else None  # type: ignore[operator]
    bounded = comparable and told.lower_nm is not None and told.upper_nm is not None
    inside = bool(told.lower_nm <= truth.mean_nm <= told.upper_nm) if bounded else None  # type: ignore[operator]
    same = told.thickness_class == truth.thickness_class
    right = told.censored or same if truth.censored else same and not told.censored
    return ThicknessScore(truth.mean_nm, told.mean_nm, error, inside, told.censored == truth.censored, bool(right))
