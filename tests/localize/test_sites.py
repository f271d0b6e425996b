"""Sites: where doubted peaks are looked at, because columns stand at others of their kind."""

import numpy as np
import pytest

from atomseg.localize.sites import MIN_COLUMNS, MIN_SHARE, on_known_sites

# Rows of an O3 layered oxide down its close-packed direction: row period, row distance, shift of a third from row to
# row, nm. Cations between the layers stand half way between opposite columns, oxygen 0.1 nm above and below the rows.
PERIOD, SPACING, SHIFT = 0.249, 0.474, 0.083
OXYGEN = 0.104


def layered(rng, *, full_share, rows=14, columns=40):
    """Peaks of metal rows, of cation sites between them (`full_share` of them sure), and of oxygen, nm."""
    row, column = np.meshgrid(np.arange(rows), np.arange(columns), indexing="ij")
    metal = np.stack([row * SPACING, column * PERIOD + row * SHIFT], axis=-1).reshape(-1, 2)
    between = np.add(metal, (0.5 * SPACING, 0.5 * SHIFT + 0.5 * PERIOD))
    oxygen = np.concatenate([np.add(metal, (OXYGEN, SHIFT)), np.subtract(metal, (OXYGEN, SHIFT))])
    full = rng.random(len(between)) < full_share
    yx = np.concatenate([metal, between, oxygen]) + rng.normal(0.0, 0.004, (4 * len(metal), 2))
    sure = np.concatenate([np.ones(len(metal), bool), full, np.zeros(len(oxygen), bool)])
    kind = np.repeat([0, 1, 2], [len(metal), len(between), len(oxygen)])
    inner = np.isin(row, range(2, rows - 2)) & np.isin(column, range(2, columns - 2))
    return yx, sure, kind, np.tile(inner.reshape(-1), 4)


@pytest.mark.parametrize("turn_deg", [0.0, 31.0, 90.0])
def test_dim_cations_stand_on_known_sites_and_oxygen_does_not(turn_deg):
    yx, sure, kind, inner = layered(np.random.default_rng(0), full_share=0.3)
    angle = np.radians(turn_deg)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    known = on_known_sites(yx @ turn.T, sure)
    doubted = inner & ~sure
    assert known[doubted & (kind == 1)].all()
    assert not known[doubted & (kind == 2)].any()
    assert not known[sure].any()


def test_sites_that_hardly_ever_hold_a_column_are_not_known():
    yx, sure, kind, _ = layered(np.random.default_rng(1), full_share=0.3 * MIN_SHARE)
    # Enough of them by number: it is their share that tells.
    assert sure[kind == 1].sum() >= MIN_COLUMNS
    assert not on_known_sites(yx, sure).any()


def test_too_few_columns_say_nothing():
    yx, sure, _, _ = layered(np.random.default_rng(2), full_share=0.3, rows=2, columns=4)
    assert not on_known_sites(yx, sure).any()
    assert not on_known_sites(yx, np.zeros(len(yx), bool)).any()


def test_the_order_of_the_peaks_does_not_matter():
    yx, sure, _, _ = layered(np.random.default_rng(3), full_share=0.3)
    order = np.random.default_rng(4).permutation(len(yx))
    assert np.array_equal(on_known_sites(yx, sure)[order], on_known_sites(yx[order], sure[order]))


def test_a_lattice_of_dumbbells_goes_on_where_the_network_doubts():
    rng = np.random.default_rng(5)
    # Silicon down [110], nm: no atom is a centre of inversion of those around it.
    i, j = np.meshgrid(np.arange(-8, 24), np.arange(16), indexing="ij")
    first = np.stack([0.272 * j, 0.384 * i + 0.192 * j], axis=-1).reshape(-1, 2)
    atoms = np.concatenate([first, np.add(first, (0.136, 0.0))])
    atoms = atoms[(atoms[:, 1] > 0) & (atoms[:, 1] < 4.0)]
    sure = rng.random(len(atoms)) > 0.08
    between = np.add(atoms[::7], (0.068 - 0.17, 0.1))
    yx = np.concatenate([atoms, between]) + rng.normal(0.0, 0.005, (len(atoms) + len(between), 2))
    told = np.concatenate([sure, np.zeros(len(between), bool)])
    known = on_known_sites(yx, told)
    # At the border of the view, too, where only half of the lattice's vectors lead anywhere. One in ten may have too
    # many neighbours that are doubted themselves.
    assert known[: len(atoms)][~sure].mean() > 0.9
    assert not known[len(atoms) :].any()
