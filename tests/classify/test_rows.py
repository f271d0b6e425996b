"""Rows decided jointly: against enumeration of all sequences, and what the shared noise of a row must do."""

import itertools

import numpy as np
import pandas as pd

from atomseg.classify import rows
from atomseg.classify.layers import half_order
from atomseg.classify.rows import Chains, ShiftNoise

PRIOR = np.array([0.6, 0.28, 0.1, 0.01, 0.01])


def one_chain(n):
    return Chains(np.arange(n)[None, :], np.append(np.arange(1, n), -1))


def decided(shift, noise, error=0.05):
    shift = np.asarray(shift, dtype=float)
    evidence = rows.log_evidence(shift, np.full(len(shift), error))
    return rows.decide_rows(evidence, np.zeros((len(shift), 5)), one_chain(len(shift)), prior=PRIOR, noise=noise)


def test_posterior_equals_the_sum_over_all_sequences():
    shift, error = np.array([0.30, 0.12, 0.02, -0.05]), 0.08
    found = decided(shift, ShiftNoise(error, 0.0, 0.5), error)
    centre = rows.log_evidence(shift, np.full(4, error))[:, len(rows.OFFSETS) // 2]
    change, total = rows.transition(PRIOR), np.zeros((4, 5))
    for sequence in itertools.product(range(5), repeat=4):
        weight = PRIOR[sequence[0]] * np.exp(centre[range(4), sequence].sum())
        weight *= np.prod([change[a, b] for a, b in itertools.pairwise(sequence)])
        total[range(4), sequence] += weight
    assert np.allclose(found, total / total.sum(axis=1, keepdims=True), atol=1e-12)


def test_a_row_that_moved_as_a_whole_is_not_called_o1():
    """All shifts half-way between 1/3 and 0, and an error that the row shares: the row says nothing."""
    shift = np.full(40, 0.165)
    alone = decided(shift, ShiftNoise(0.05, 0.0, 0.5))
    shared = decided(shift + 0.03, ShiftNoise(0.05, 0.12, 0.99))
    assert shared[:, 2].max() < 0.5
    # Without the shared error a row that is 3.3 errors from everything is lost, not O1.
    assert alone[:, 2].max() < 0.5


def test_one_bad_column_does_not_break_a_row():
    shift = np.full(20, 1 / 3)
    shift[9] = 0.0
    assert (decided(shift, ShiftNoise(0.05, 0.0, 0.5)).argmax(axis=1) == 0).all()


def test_noise_is_read_off_the_shifts_whatever_the_stacking():
    rng = np.random.default_rng(1)
    stacking = np.repeat(rng.choice([0.0, 1 / 3, -1 / 3], 40), 50)
    own, shared = 0.04, np.repeat(rng.normal(0, 0.03, 40), 50)
    shift = stacking + shared + rng.normal(0, own, 2000)
    index = np.arange(2000).reshape(40, 50)
    following = np.where(np.arange(2000) % 50 == 49, -1, np.arange(1, 2001))
    noise = rows.shift_noise(shift, Chains(index, following), np.ones(2000, dtype=bool))
    # 2000 gaps give the own error to 2 %; the shared one rests on 40 rows, 11 %, and on the total's.
    assert noise is not None
    assert abs(noise.own - own) < 0.008
    assert abs(noise.common - 0.03) < 0.015


def test_chains_follow_rows_over_a_missing_column():
    right = np.array([1, 2, 3, 4, -1, 6, 7, 8, 9, -1])
    gaps = pd.DataFrame({"lower": [0, 1, 3, 4], "upper": [5, 6, 8, 9]})
    assert rows.chain_gaps(gaps, right).following.tolist() == [1, 2, 3, -1]


def test_half_order_of_spinel_and_of_equal_columns():
    # full, half, full, half: (1 - 1/2) / 2 over a mean of 3/4
    assert abs(half_order(np.tile([1.0, 0.5], 10))[0] - 1 / 3) < 1e-12
    assert half_order(np.linspace(1, 2, 20))[0] < 1e-12
