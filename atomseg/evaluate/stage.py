"""Everything that a simulated scene can say about an analysis of its image."""

from dataclasses import dataclass, field

from atomseg.evaluate.match import match_columns
from atomseg.evaluate.scores import (
    Agreement,
    agreement,
    column_agreement,
    detection,
    position_errors,
    thickness_score,
)
from atomseg.types import AnalysisRecord, Scene

STRICT_NM, LOOSE_NM = 0.05, 0.1


@dataclass(frozen=True)
class Evaluation:
    """One analysis against one scene; flat and JSON-ready. None where there is nothing to compare.

    Parameters
    ----------
    n_found, n_required : int
        Columns found, and true columns that had to be found.
    precision_50pm, recall_50pm, f1_50pm, precision_100pm, recall_100pm, f1_100pm : float
        Columns within 50 and 100 pm.
    rmse_pm : float or None
        Root mean squared distance (both coordinates) of required columns matched within 100 pm.
    bias_y_pm, bias_x_pm : float or None
        Mean error.
    coverage90 : float or None
        Share of errors inside their own 90 % ellipses, mean error taken out.
    mean_iou, accuracy, abstention : float or None
        Phases by pixel.
    column_accuracy, column_abstention : float or None
        Phases of matched columns.
    thickness_true_nm, thickness_nm, thickness_error_nm : float or None
        Mean thickness of all surfaces together.
    thickness_inside, class_right, censoring_right : bool or None
        True mean within the reported bounds; class; censored exactly where the truth is.
    iou : dict
        By phase.
    confusion, column_confusion : tuple
        Rows: true none, R-3m, rocksalt, O1. Columns: the same, then unresolved. By pixel, and by matched column.
    """

    n_found: int
    n_required: int
    precision_50pm: float
    recall_50pm: float
    f1_50pm: float
    precision_100pm: float
    recall_100pm: float
    f1_100pm: float
    rmse_pm: float | None
    bias_y_pm: float | None
    bias_x_pm: float | None
    coverage90: float | None
    mean_iou: float | None
    accuracy: float | None
    abstention: float | None
    column_accuracy: float | None
    column_abstention: float | None
    thickness_true_nm: float | None
    thickness_nm: float | None
    thickness_error_nm: float | None
    thickness_inside: bool | None
    class_right: bool | None
    censoring_right: bool | None
    iou: dict[str, float] = field(default_factory=dict)
    confusion: tuple[tuple[int, ...], ...] = ()
    column_confusion: tuple[tuple[int, ...], ...] = ()


def evaluate(analysis: AnalysisRecord, scene: Scene) -> Evaluation:
    """Compare an analysis with the scene whose image it analysed.

    Parameters
    ----------
    analysis : AnalysisRecord
        What was found.
    scene : Scene
        What is true.

    Raises
    ------
    ValueError
        If the phase maps differ in shape: the analysis is of another image.
    """
    found, true = analysis.localized, scene.columns
    pairs = match_columns(found, true, LOOSE_NM)
    strict, loose = detection(found, true, STRICT_NM), detection(found, true, LOOSE_NM)
    errors = position_errors(found, true, pairs)
    bias: tuple[float, float] | tuple[None, None] = errors.bias_pm or (None, None)
    pixels = agreement(analysis.phases.labels, scene.phases.labels)
    columns = column_agreement(analysis.phases, true, pairs) or Agreement((), {}, None, None, None)
    thickness = thickness_score(analysis.thickness, scene.reconstruction)
    return Evaluation(
        n_found=len(found),
        n_required=loose.hits + loose.missed,
        precision_50pm=strict.precision,
        recall_50pm=strict.recall,
        f1_50pm=strict.f1,
        precision_100pm=loose.precision,
        recall_100pm=loose.recall,
        f1_100pm=loose.f1,
        rmse_pm=errors.rmse_pm,
        bias_y_pm=bias[0],
        bias_x_pm=bias[1],
        coverage90=errors.coverage90,
        mean_iou=pixels.mean_iou,
        accuracy=pixels.accuracy,
        abstention=pixels.abstention,
        column_accuracy=columns.accuracy,
        column_abstention=columns.abstention,
        thickness_true_nm=thickness.true_nm if thickness else None,
        thickness_nm=thickness.found_nm if thickness else None,
        thickness_error_nm=thickness.error_nm if thickness else None,
        thickness_inside=thickness.inside if thickness else None,
        class_right=thickness.class_right if thickness else None,
        censoring_right=thickness.censoring_right if thickness else None,
        iou=pixels.iou,
        confusion=pixels.confusion,
        column_confusion=columns.confusion,
    )
