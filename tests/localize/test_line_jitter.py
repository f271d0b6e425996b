"""Line jitter: found where it is, not found where it is not, taken out of positions and put into errors."""

import numpy as np
import pytest

from atomseg.localize import LocalizeConfig, fit_columns, jitter
from atomseg.localize import stage as localize_stage

PIXEL, SIGMA, PEAK = 0.02, 0.05, 60.0


def scanned(shape, yx, shift_nm, rng):
    """Poisson image of a lattice whose scan rows are displaced by (H, 2) `shift_nm`."""
    image = np.full(shape, 15.0)
    grid_y, grid_x = np.mgrid[: shape[0], : shape[1]]
    seen_y, seen_x = grid_y + shift_nm[:, :1] / PIXEL, grid_x + shift_nm[:, 1:] / PIXEL
    for cy, cx in yx:
        near = (slice(max(0, int(cy) - 14), int(cy) + 15), slice(max(0, int(cx) - 14), int(cx) + 15))
        r2 = (seen_y[near] - cy) ** 2 + (seen_x[near] - cx) ** 2
        image[near] += PEAK * np.exp(-0.5 * r2 * (PIXEL / SIGMA) ** 2)
    return rng.poisson(image).astype(np.float32)


def rotated_lattice(shape, angle_deg):
    """Layered-oxide-like lattice turned against the scan."""
    turn = np.deg2rad(angle_deg)
    a = np.array([np.sin(turn), np.cos(turn)]) * 0.249 / PIXEL
    b = np.array([np.cos(turn), -np.sin(turn)]) * 0.473 / PIXEL + a / 3
    i, j = np.meshgrid(np.arange(-80, 80), np.arange(-80, 80))
    yx = i.reshape(-1, 1) * a + j.reshape(-1, 1) * b
    return yx[((yx > 9) & (yx < np.array(shape) - 9)).all(1)]


@pytest.fixture
def spreads(monkeypatch):
    """Spreads that the stage estimated, in the order of its calls."""
    seen = []
    plain = localize_stage.line_jitter

    def watched(*arguments):
        result = plain(*arguments)
        seen.append(result.spread_nm)
        return result

    monkeypatch.setattr(localize_stage, "line_jitter", watched)
    return seen


def measured(shape, yx, shift_nm, rng):
    image = scanned(shape, yx, shift_nm, rng)
    seeds = yx + rng.normal(0.0, 0.5, yx.shape)
    table = fit_columns(image, seeds, (PIXEL, PIXEL), LocalizeConfig()).table
    error_pm = (table[["y_px", "x_px"]].to_numpy() - yx) * PIXEL * 1e3
    return error_pm, table[["sigma_y_pm", "sigma_x_pm"]].to_numpy()


# Turned lattices have columns at every height; in the straight one a row of columns meets the same scan rows.
@pytest.mark.parametrize(("angle_deg", "gain"), [(-21.0, 0.75), (0.0, 0.95)])
def test_jitter_is_taken_out_of_positions_and_errors_stay_honest(angle_deg, gain, monkeypatch, spreads):
    rng = np.random.default_rng(2)
    shape = (360, 420)
    yx = rotated_lattice(shape, angle_deg)
    shift = np.stack([rng.normal(0, 0.002, shape[0]), rng.normal(0, 0.010, shape[0])], axis=-1)
    error, sigma = measured(shape, yx, shift, rng)
    # 360 rows know a spread to 4 %, and where columns take a good part of it, to some 20 %.
    assert spreads[0][1] == pytest.approx(0.010, rel=0.25)
    assert spreads[0][0] < 0.004
    # 90 % ellipses of 400 columns: +-1.5 % by chance, but columns of one scan row err together.
    assert 0.82 < (((error / sigma) ** 2).sum(1) < 4.605).mean() < 0.99
    monkeypatch.setattr(localize_stage, "line_jitter", lambda *a: _none(len(yx)))
    plain, too_small = measured(shape, yx, shift, np.random.default_rng(3))
    assert np.sqrt((error[:, 1] ** 2).mean()) < gain * np.sqrt((plain[:, 1] ** 2).mean())
    # Without it the errors are claimed too small: the test above can fail.
    assert (((plain / too_small) ** 2).sum(1) < 4.605).mean() < 0.75


def dumbbells(shape, angle_deg):
    """Si [110]: pairs of columns 0.136 nm apart, turned against the scan."""
    turn = np.deg2rad(angle_deg)
    along = np.array([np.sin(turn), np.cos(turn)]) / PIXEL
    across = np.array([np.cos(turn), -np.sin(turn)]) / PIXEL
    i, j = np.meshgrid(np.arange(-60, 60), np.arange(-60, 60))
    first = i.reshape(-1, 1) * across * 0.272 + (2 * j + i % 2).reshape(-1, 1) * along * 0.192
    yx = np.concatenate([first, first + 0.136 * across])
    return yx[((yx > 9) & (yx < np.array(shape) - 9)).all(1)]


@pytest.mark.parametrize("angle_deg", [12.0, 95.0])
def test_jitter_is_taken_out_of_dumbbells(angle_deg, monkeypatch, spreads):
    """Without it positions along the scan err by 1.5 to 1.8 times as much, and twice as much as they claim."""
    rng = np.random.default_rng(8)
    shape = (300, 300)
    yx = dumbbells(shape, angle_deg)
    shift = np.stack([np.zeros(shape[0]), rng.normal(0, 0.010, shape[0])], axis=-1)
    error, sigma = measured(shape, yx, shift, rng)
    # Where pairs lie along the scan, a third of it is taken for the columns' own.
    assert 0.006 < spreads[0][1] < 0.012
    monkeypatch.setattr(localize_stage, "line_jitter", lambda *a: _none(len(yx)))
    plain, _ = measured(shape, yx, shift, np.random.default_rng(9))
    assert np.sqrt((error[:, 1] ** 2).mean()) < 0.8 * np.sqrt((plain[:, 1] ** 2).mean())
    # 90 % ellipses; columns of one scan row err together.
    assert 0.82 < (((error / sigma) ** 2).sum(1) < 4.605).mean() < 0.99


def test_no_jitter_is_seen_in_dumbbells_without(spreads):
    rng = np.random.default_rng(4)
    measured((300, 300), dumbbells((300, 300), 12.0), np.zeros((300, 2)), rng)
    assert spreads == [(0.0, 0.0)]


def test_no_jitter_is_seen_where_there_is_none(spreads):
    rng = np.random.default_rng(4)
    shape = (300, 300)
    yx = rotated_lattice(shape, 13.0)
    yx = yx + rng.normal(0, 0.15, yx.shape)
    error, sigma = measured(shape, yx, np.zeros((shape[0], 2)), rng)
    # At most a tenth of the columns' own errors (2.3 pm).
    assert max(spreads[0]) <= 0.0005
    assert (((error / sigma) ** 2).sum(1) < 4.605).mean() > 0.85


def ramp_pm(monkeypatch):
    """Largest move along x of well-placed columns that all have the same tilted tail, with slow jitter believed in."""
    rng = np.random.default_rng(6)
    shape = (260, 300)
    yx = rotated_lattice(shape, -21.0)
    image = np.full(shape, 300.0)
    grid_y, grid_x = np.mgrid[: shape[0], : shape[1]]
    for cy, cx in yx:
        v, u = (grid_y - cy) * PIXEL, (grid_x - cx) * PIXEL
        tilted = ((u + v) / 0.16) ** 2 + ((u - v) / 0.09) ** 2
        image += 2000.0 * np.exp(-0.5 * (u * u + v * v) / SIGMA**2) + 400.0 * np.exp(-0.5 * tilted)
    moves = []

    def watched(*arguments):
        moves.append(jitter.line_jitter(*arguments).move_nm)
        return _none(len(yx))

    monkeypatch.setattr(localize_stage, "line_jitter", watched)
    monkeypatch.setattr(jitter, "_prior", lambda *_: (0.15, 0.9))
    fit_columns(rng.poisson(image).astype(np.float32), yx, (PIXEL, PIXEL), LocalizeConfig())
    return 1e3 * np.abs(moves[0][:, 1]).max()


def test_a_misfit_that_all_columns_share_is_not_taken_for_rows(monkeypatch):
    # A tail that is no Gaussian leaves the same residual around every column. Rows in the middle meet it at all
    # heights; the first and last rows do not, and slow displacements are next to free: the ends used to be bent.
    with_care = ramp_pm(monkeypatch)
    monkeypatch.setattr(jitter, "SEEN_SHARE", 0.0)
    with_smooth = ramp_pm(monkeypatch)
    monkeypatch.setattr(jitter, "_without_common", lambda information, score, shown: score)
    careless = ramp_pm(monkeypatch)
    # Seeded: 1.2, 1.7 and 3.5 pm here, 2 against 35 pm in an image of 900 rows.
    assert careless > 2.5
    assert with_smooth < 0.65 * careless
    assert with_care < 0.85 * with_smooth


def _none(n):
    return jitter.Jitter(np.zeros((n, 2)), np.zeros((n, 2)), (0.0, 0.0))


def test_smooth_displacements_are_left_to_the_columns():
    """Rows that sway together move columns, and nothing in the image tells the one from the other."""
    rng = np.random.default_rng(8)
    factor = rng.normal(size=(60, 60))
    smooth = np.cos(np.pi * np.arange(60) / 59.0)
    smooth /= np.linalg.norm(smooth)
    rough = factor - np.outer(factor @ smooth, smooth)
    matrix = rough.T @ rough + 1e-3 * np.outer(smooth, smooth)
    told = jitter._trusted(matrix, 50.0 * smooth + matrix @ np.ones(60), 0.01)
    assert np.abs(smooth @ told.vector).max() < 1e-6
    # What is clearly seen stays.
    value, vector = np.linalg.eigh(matrix)
    assert told.value.max() == pytest.approx(value[-1])
    assert np.linalg.norm(vector[:, -1] @ told.vector) == pytest.approx(1.0)


def test_evidence_is_that_of_a_dense_gaussian():
    """ln p(data | K) - ln p(data | 0) of x ~ N(0, K) seen with the normal matrix A, written with full matrices."""
    rng = np.random.default_rng(3)
    factor = rng.normal(size=(20, 20))
    matrix, kernel = factor.T @ factor, jitter._correlated(20, 1.0, 0.6)
    shift = rng.normal(size=20)
    told = jitter._trusted(matrix, matrix @ shift, 0.0)
    for spread in (0.1, 1.0):
        noise = np.linalg.inv(matrix)
        with_it = noise + spread**2 * kernel
        expected = -0.5 * (shift @ np.linalg.solve(with_it, shift) + np.linalg.slogdet(with_it)[1])
        expected += 0.5 * (shift @ matrix @ shift + np.linalg.slogdet(noise)[1])
        assert jitter._evidence(told, kernel, np.array([spread**2]))[0] == pytest.approx(expected, rel=1e-6)


def test_most_probable_displacements_are_those_of_a_dense_gaussian():
    rng = np.random.default_rng(4)
    factor = rng.normal(size=(12, 12))
    matrix, score = factor.T @ factor + np.eye(12), rng.normal(size=12)
    band = np.zeros((12, 12))
    for distance in range(12):
        band[: 12 - distance, distance] = np.diagonal(matrix, distance)
    rows = jitter._Rows(first=np.zeros(0, int), answer=np.zeros((0, 12)), system=band, score=score)
    moved, covariance = jitter._posterior(rows, slice(0, 12), (0.7, 0.4))
    expected = np.linalg.inv(np.linalg.inv(jitter._correlated(12, 0.7, 0.4)) + matrix)
    assert np.allclose(covariance, expected)
    assert np.allclose(moved, expected @ score)
