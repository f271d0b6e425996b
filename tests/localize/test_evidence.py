"""Whether a fitted column is one: limits of the odds, and a crystal too dim for the fit to tell its columns."""

import numpy as np
import pytest
from scipy.integrate import quad

from atomseg.localize.evidence import STRAY_LIGHT, log_odds, unseen


@pytest.mark.parametrize(("amplitude", "error", "chance"), [(0.3, 0.5, 0.6), (-0.4, 0.3, 0.7), (0.05, 0.02, 0.5)])
def test_odds_are_bayes_rule_integrated_by_hand(amplitude, error, chance):
    spread = np.hypot(error, STRAY_LIGHT)

    def likelihood(light):
        return np.exp(-0.5 * ((amplitude - light) / spread) ** 2)

    expected = np.log(chance / (1 - chance) * quad(likelihood, 0.0, 1.0)[0] / likelihood(0.0))
    found = log_odds(np.array([amplitude]), np.array([error]), np.array([1.0]), np.array([chance]))
    assert found[0] == pytest.approx(expected, abs=1e-6)  # quadrature's own error


def test_extreme_scores_stay_finite():
    odds = log_odds(np.array([1.0, -1.0, 0.0]), np.full(3, 1e-4), np.ones(3), np.full(3, 0.5))
    assert np.isfinite(odds).all()
    assert odds[0] > 0 > odds[1]


def test_a_crystal_at_low_dose_keeps_its_columns_and_a_sharp_image_loses_its_noise():
    rng = np.random.default_rng(0)
    yx = np.argwhere(np.ones((20, 20))) * 0.25
    light = rng.normal(1.0, 0.5, 400)
    # Scores of 2 +- 1: a limit of 2.5 errors alone would drop 69 %.
    dropped = unseen(yx, light, np.full(400, 0.5), np.full(400, 0.6), 2.5)
    assert dropped.mean() < 0.15
    # The same scores, among neighbours twenty errors bright, are as good as nothing.
    light = np.where(np.arange(400) % 2, 10.0, light)
    dropped = unseen(yx, light, np.full(400, 0.5), np.full(400, 0.6), 2.5)
    assert dropped[::2].mean() == pytest.approx(0.69, abs=0.08)  # 200 columns: 3.3 % of chance, 2.4 of them
    assert not dropped[1::2].any()


def test_no_columns():
    assert len(unseen(np.zeros((0, 2)), np.zeros(0), np.zeros(0), np.zeros(0), 2.5)) == 0
