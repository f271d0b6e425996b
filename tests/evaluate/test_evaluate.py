"""Matching against brute force, scores against numbers made by hand."""

import dataclasses
import itertools
import json

import numpy as np
import pandas as pd
import pytest

from atomseg.evaluate import evaluate, match_columns
from atomseg.evaluate.match import match_points
from atomseg.evaluate.scores import CHI2_90, agreement, detection, phase_codes, position_errors, thickness_score
from atomseg.types import (
    AnalysisRecord,
    Calibration,
    CalibrationOrigin,
    Columns,
    Micrograph,
    PhaseMap,
    Provenance,
    ReconstructionProfile,
    Scene,
    ThicknessSummary,
)
from atomseg.types.phases import PHASE_FIELDS
from atomseg.types.reconstruction import FAULT_FIELDS, PROFILE_FIELDS


def columns(yx_nm, *, sigma_pm=10.0, **extra):
    yx = np.asarray(yx_nm, dtype=float).reshape(-1, 2)
    fields = {
        "id": np.arange(len(yx)),
        "y_px": yx[:, 0] / 0.02,
        "x_px": yx[:, 1] / 0.02,
        "y_nm": yx[:, 0],
        "x_nm": yx[:, 1],
        "sigma_y_pm": sigma_pm,
        "sigma_x_pm": sigma_pm,
        "amplitude": 1.0,
        "background": 0.0,
        "fwhm_major_nm": 0.1,
        "fwhm_minor_nm": 0.1,
        "theta_deg": 0.0,
        "probability": 1.0,
        "flags": 0,
    }
    return Columns(pd.DataFrame(fields | extra))


def summary(mean, *, censored=False, lower=None, upper=None, name="thin"):
    return ThicknessSummary(
        mean_nm=mean,
        median_nm=mean,
        p05_nm=None,
        p95_nm=None,
        lower_nm=lower,
        upper_nm=upper,
        censored=censored,
        censored_fraction=float(censored),
        lower_bound_nm=None,
        thickness_class=name,
        class_probability={},
        n_points=10,
    )


def profile(told):
    return ReconstructionProfile(
        points=pd.DataFrame(columns=list(PROFILE_FIELDS)),
        faults=pd.DataFrame(columns=list(FAULT_FIELDS)),
        depth_nm=np.zeros((4, 4), np.float32),
        summary=told,
    )


def phase_map(labels, column_phases):
    labels = np.asarray(labels, dtype=np.uint8)
    table = pd.DataFrame({name: np.zeros(len(column_phases)) for name in PHASE_FIELDS})
    table["phase"] = column_phases
    return PhaseMap(
        labels, np.ones(labels.shape, np.float32), np.zeros(labels.shape, np.float32), table, pd.DataFrame()
    )


def brute_force(found, true, radius, required):
    """Every one-to-one assignment of a handful of points; the best by (pairs, required, distance)."""
    distance2 = ((found[:, None] - true[None]) ** 2).sum(-1)
    best, best_pairs = (0, 0, 0.0), []
    for targets in itertools.product([None, *range(len(true))], repeat=len(found)):
        used = [t for t in targets if t is not None]
        if len(set(used)) < len(used):
            continue
        pairs = [(i, t) for i, t in enumerate(targets) if t is not None]
        if any(distance2[p] > radius**2 for p in pairs):
            continue
        score = (len(pairs), sum(required[t] for _, t in pairs), -sum(distance2[p] for p in pairs))
        if score > best:
            best, best_pairs = score, pairs
    return best_pairs


@pytest.mark.parametrize("seed", range(25))
def test_matching_equals_brute_force(seed):
    rng = np.random.default_rng(seed)
    # Five against six points in a square little larger than the radius: everything competes with everything.
    found, true = rng.uniform(0, 0.2, (5, 2)), rng.uniform(0, 0.2, (6, 2))
    required = rng.random(6) < 0.6
    pairs = match_points(found, true, 0.1, required)
    assert [tuple(p) for p in pairs] == brute_force(found, true, 0.1, required)


def test_matching_prefers_fewer_misses_to_shorter_distances():
    # Greedy nearest-first would pair found 0 with true 1 (5 pm) and lose the other two.
    found, true = columns([(0.0, 0.045), (0.0, 0.13)]), columns([(0.0, 0.0), (0.0, 0.05)])
    assert match_columns(found, true, 0.09).tolist() == [[0, 0], [1, 1]]


def test_matching_with_nothing_or_nonsense():
    assert match_columns(columns([]), columns([(0, 0)]), 0.1).shape == (0, 2)
    assert match_columns(columns([(np.nan, 0.0), (0.0, 0.0)]), columns([(0, 0)]), 0.1).tolist() == [[1, 0]]
    with pytest.raises(ValueError, match="must be positive"):
        match_columns(columns([]), columns([]), 0.0)


def test_unrequired_truth_is_neither_right_nor_wrong():
    true = columns([(0, 0), (0, 1), (0, 2), (0, 3)], required=[1, 1, 0, 0])
    found = columns([(0, 0.01), (0, 2.01), (5, 5)])
    score = detection(found, true, 0.05)
    assert (score.hits, score.false, score.missed) == (1, 1, 1)
    assert (score.precision, score.recall, score.f1) == (0.5, 0.5, 0.5)
    empty = detection(columns([]), columns([]), 0.05)
    assert (empty.precision, empty.recall, empty.f1) == (0.0, 0.0, 0.0)


def test_position_errors_by_hand_and_by_chance():
    true = columns([(0, 0), (1, 0)])
    found = columns([(0.003, 0.004), (1.003, -0.004)])
    score = position_errors(found, true, match_columns(found, true, 0.1))
    assert score.rmse_pm == pytest.approx(5.0)
    assert score.bias_pm == pytest.approx((3.0, 0.0), abs=1e-9)
    # Errors of the claimed size are inside their 90 % ellipses nine times in ten: 4000 draws know it to 0.5 %.
    rng = np.random.default_rng(0)
    grid = np.array([(y, x) for y in range(80) for x in range(50)], dtype=float)
    many = columns(grid + rng.normal(0, 0.01, grid.shape), sigma_pm=10.0)
    score = position_errors(many, columns(grid), match_columns(many, columns(grid), 0.1))
    assert score.coverage90 == pytest.approx(0.9, abs=0.015)
    assert -2 * np.log(0.1) == pytest.approx(CHI2_90)


def test_agreement_of_a_confusion_made_by_hand():
    true = np.array([0, 0, 1, 1, 1, 1, 2, 2, 4])
    found = np.array([0, 1, 1, 1, 4, 2, 2, 0, 3])
    score = agreement(found, true)
    assert score.confusion == ((1, 1, 0, 0, 0), (0, 2, 1, 0, 1), (1, 0, 1, 0, 0), (0, 0, 0, 0, 0))
    assert score.iou == pytest.approx({"none": 1 / 3, "layered": 2 / 5, "rocksalt": 1 / 3})
    assert score.mean_iou == pytest.approx((1 / 3 + 2 / 5 + 1 / 3) / 3)
    assert score.accuracy == pytest.approx(4 / 8)
    assert score.abstention == pytest.approx(1 / 6)
    with pytest.raises(ValueError, match="can not be compared"):
        agreement(np.zeros((2, 2)), np.zeros((2, 3)))


def test_phase_codes_from_labels_keys_and_numbers():
    assert phase_codes(np.array(["R-3m", "rocksalt", "O1", "none", "layered", "?"])).tolist() == [1, 2, 3, 0, 1, 4]
    assert phase_codes(np.array([1.0, np.nan, 7.0])).tolist() == [1, 4, 4]


@pytest.mark.parametrize(
    ("told", "truth", "censoring_right", "class_right", "error"),
    [
        (summary(3.4, lower=3.0, upper=4.0), summary(3.1), True, True, 0.3),
        (summary(6.0, name="intermediate"), summary(3.1), True, False, 2.9),
        (summary(3.4, censored=True), summary(3.1), False, False, 0.3),
        (summary(21.0, censored=True, name=None), summary(22.0, censored=True, name="thick"), True, True, None),
        (summary(21.0, name="thick"), summary(22.0, censored=True, name="thick"), False, True, None),
        (None, summary(3.1), False, False, None),
    ],
)
def test_thickness(told, truth, censoring_right, class_right, error):
    score = thickness_score(profile(told), profile(truth))
    assert (score.censoring_right, score.class_right) == (censoring_right, class_right)
    assert score.error_nm == (None if error is None else pytest.approx(error))
    if told is not None and told.lower_nm is not None:
        assert score.inside


def test_evaluate_puts_it_together_and_is_json():
    micrograph = Micrograph(np.zeros((2, 3), np.float32), Calibration((0.02, 0.02), CalibrationOrigin.USER))
    yx = [(0.0, 0.0), (0.0, 0.5), (0.5, 0.0)]
    truth = columns(yx, required=1, phase=["R-3m", "R-3m", "O1"], phase_alt=["", "O1", ""])
    labels = [[0, 1, 1], [0, 2, 3]]
    scene = Scene(micrograph, truth, phase_map(labels, [1, 1, 3]), profile(summary(3.0)), np.ones((2, 3), bool), {})
    analysis = AnalysisRecord(
        micrograph=micrograph,
        localized=columns(np.array(yx) + 0.003),
        # The second column is called O1, which its truth also accepts; the third is left open.
        phases=phase_map([[0, 1, 4], [0, 2, 3]], [1, 3, 4]),
        thickness=profile(summary(3.2)),
        restored=np.zeros((2, 3), np.float32),
        checks=(),
        warnings=(),
        provenance=Provenance("0", None, "m", "0", {}),
    )
    result = evaluate(analysis, scene)
    assert (result.f1_50pm, result.f1_100pm, result.n_found, result.n_required) == (1.0, 1.0, 3, 3)
    assert result.rmse_pm == pytest.approx(3.0 * 2**0.5)
    assert result.mean_iou == pytest.approx((1 + 0.5 + 1 + 1) / 4)
    assert result.column_accuracy == pytest.approx(2 / 3)
    assert result.column_abstention == pytest.approx(1 / 3)
    assert result.thickness_error_nm == pytest.approx(0.2)
    assert json.loads(json.dumps(dataclasses.asdict(result), allow_nan=False))["class_right"] is True


def test_evaluate_without_surface_and_without_columns():
    micrograph = Micrograph(np.zeros((2, 2), np.float32), Calibration((0.02, 0.02), CalibrationOrigin.USER))
    nothing = phase_map(np.zeros((2, 2)), [])
    scene = Scene(micrograph, columns([]), nothing, profile(None), np.zeros((2, 2), bool), {})
    analysis = AnalysisRecord(
        micrograph, columns([]), nothing, profile(None), np.zeros((2, 2)), (), (), Provenance("0", None, "m", "0", {})
    )
    result = evaluate(analysis, scene)
    assert result.rmse_pm is None
    assert result.class_right is None
    assert result.mean_iou == 1.0
    assert json.dumps(dataclasses.asdict(result), allow_nan=False)
