"""Ratio to Ni fraction: published-style tables of both models, and their round trip."""

import numpy as np
import pytest

from atomseg.classify.occupancy import excess_fraction, exchange_fraction


@pytest.mark.parametrize(
    ("x", "excess", "exchange"), [(0.05, 0.073, 0.077), (0.10, 0.123, 0.136), (0.25, 0.273, 0.362), (0.4, 0.423, 0.695)]
)
def test_fractions_of_the_tabulated_ratios(x, excess, exchange):
    # Ratios by Z^1.7 of the columns' true contents, three digits: 0.0005 of ratio is 0.0005 of x at most.
    assert abs(excess_fraction(np.array(excess)) - x) < 0.001
    assert abs(exchange_fraction(np.array(exchange)) - x) < 0.001


def test_the_ratio_of_the_bulk_is_no_mixing():
    assert excess_fraction(np.array(0.14), floor=0.14) == exchange_fraction(np.array(0.14), floor=0.14) == 0.0


def test_impossible_floor_is_refused():
    with pytest.raises(ValueError, match="floor is 1"):
        excess_fraction(np.array(0.5), floor=1.0)
