"""Line jitter: found where it is, not found where it is not, taken out of positions and put into errors."""

import numpy as np
import pytest
import torch

from atomseg.localize import LocalizeConfig, fit_columns, jitter, scan_rows
from atomseg.localize import table as localize_table

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
    plain = localize_table.line_jitter

    def watched(*arguments):
        result = plain(*arguments)
        seen.append(result.spread_nm)
        return result

    monkeypatch.setattr(localize_table, "line_jitter", watched)
    return seen


def measured(shape, yx, shift_nm, rng):
    return measured_from(yx, yx, shape, shift_nm, rng)


def measured_from(seen, yx, shape, shift_nm, rng):
    """Errors of positions from where columns are seen, and what is claimed of them, pm."""
    image = scanned(shape, yx, shift_nm, rng)
    seeds = yx + rng.normal(0.0, 0.5, yx.shape)
    table = fit_columns(image, seeds, (PIXEL, PIXEL), LocalizeConfig()).table
    error_pm = (table[["y_px", "x_px"]].to_numpy() - seen) * PIXEL * 1e3
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
    monkeypatch.setattr(localize_table, "line_jitter", lambda *a: _none(len(yx)))
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
    monkeypatch.setattr(localize_table, "line_jitter", lambda *a: _none(len(yx)))
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
    """Largest move along y of well-placed columns that all have the same tilted tail, with slow jitter believed in."""
    rng = np.random.default_rng(6)
    shape, reach = (900, 300), 30
    yx = rotated_lattice(shape, -21.0)
    image = np.full(shape, 300.0)
    grid_y, grid_x = np.mgrid[: shape[0], : shape[1]]
    for cy, cx in yx:
        near = tuple(slice(max(0, int(c) - reach), int(c) + reach + 1) for c in (cy, cx))
        v, u = (grid_y[near] - cy) * PIXEL, (grid_x[near] - cx) * PIXEL
        tilted = ((u + v) / 0.16) ** 2 + ((u - v) / 0.09) ** 2
        image[near] += 2000.0 * np.exp(-0.5 * (u * u + v * v) / SIGMA**2) + 400.0 * np.exp(-0.5 * tilted)
    moves = []

    def watched(*arguments):
        moves.append(jitter.line_jitter(*arguments).move_nm)
        return _none(len(yx))

    monkeypatch.setattr(localize_table, "line_jitter", watched)
    monkeypatch.setattr(jitter, "likeliest_prior", lambda *_: scan_rows.RowPrior(0.15, 0.9))
    fit_columns(rng.poisson(image).astype(np.float32), yx, (PIXEL, PIXEL), LocalizeConfig())
    return 1e3 * np.abs(moves[0][:, 0]).max()


def test_a_misfit_that_all_columns_share_is_not_taken_for_rows(monkeypatch):
    # A tail that is no Gaussian leaves the same residual around every column. Rows in the middle meet it at all
    # heights; the first and last rows do not, and slow displacements are next to free: the ends used to be bent.
    with_care = ramp_pm(monkeypatch)
    monkeypatch.setattr(jitter, "_without_common", lambda information, score, shown: score)
    careless = ramp_pm(monkeypatch)
    # Seeded: 1.3 and 7.7 pm.
    assert careless > 5.0
    assert with_care < 0.3 * careless


def _none(n):
    return jitter.Jitter(np.zeros((n, 2)), np.zeros((n, 2)), (0.0, 0.0))


def told(matrix, score, misfit):
    noise = matrix + np.diag(misfit)
    return scan_rows._Told(0, *(torch.from_numpy(np.asarray(values, dtype=float)) for values in (matrix, score, noise)))


def test_smooth_displacements_are_left_to_the_columns():
    """Rows that sway together move columns, and nothing in the image tells the one from the other."""
    rng = np.random.default_rng(8)
    factor = rng.normal(size=(60, 60))
    smooth = np.cos(np.pi * np.arange(60) / 59.0)
    smooth /= np.linalg.norm(smooth)
    rough = factor - np.outer(factor @ smooth, smooth)
    weak = 1e-3
    matrix = rough.T @ rough + weak * np.outer(smooth, smooth)
    prior, misfit = scan_rows.RowPrior(10.0, 0.0), np.full(60, 0.2)
    # The columns' misfit pushes along it by one of its own errors: without care that is sqrt(0.2) / 0.001 lengths.
    push = np.sqrt(0.2) * smooth
    careless, _ = scan_rows._posterior(told(matrix, push, np.zeros(60)), prior)
    careful, covariance = scan_rows._posterior(told(matrix, push, misfit), prior)
    assert abs(smooth @ careless) > 30.0
    assert abs(smooth @ careful) < 0.5
    # It stays as unknown as it was before: the prior's variance.
    assert smooth @ covariance @ smooth == pytest.approx(100.0, rel=0.01)
    # What is clearly seen is found.
    clear = np.linalg.eigh(matrix)[1][:, -1]
    moved, _ = scan_rows._posterior(told(matrix, matrix @ clear, misfit), prior)
    assert clear @ moved == pytest.approx(1.0, rel=0.01)


def dense_gain(score, noise, signal):
    """ln p(score) of a Gaussian of covariance noise + signal over that of noise alone."""
    gain = 0.5 * (score @ np.linalg.solve(noise, score) + np.linalg.slogdet(noise)[1])
    with_it = noise + signal
    return gain - 0.5 * (score @ np.linalg.solve(with_it, score) + np.linalg.slogdet(with_it)[1])


@pytest.mark.parametrize("misfit", [0.0, 0.7])
def test_evidence_is_that_of_a_dense_gaussian(misfit):
    """Of score = A shift + e, shift ~ N(0, K), e ~ N(0, A + misfit), in full."""
    rng = np.random.default_rng(3)
    factor = rng.normal(size=(20, 20))
    matrix = factor.T @ factor
    score = matrix @ rng.normal(size=20)
    noise = matrix + misfit * np.eye(20)
    variances = np.array([0.01, 1.0])
    some = told(matrix, score, np.full(20, misfit))
    jitter_gain = scan_rows._evidence(some, variances)
    for i, correlation in enumerate(scan_rows.CORRELATIONS):
        kernel = scan_rows._covariance(20, scan_rows.RowPrior(1.0, correlation)).numpy()
        expected = [dense_gain(score, noise, variance * matrix @ kernel @ matrix) for variance in variances]
        assert np.allclose(jitter_gain[i], expected, rtol=1e-6)
    # A wave beside jitter: a kernel of its own, with the jitter's light in the noise.
    prior = scan_rows.RowPrior(0.3, 0.4)
    with_jitter = noise + matrix @ scan_rows._covariance(20, prior).numpy() @ matrix
    waves = scan_rows._wave_evidence(some, prior, np.array([0.05, 0.11]), variances)
    distance = np.arange(20)[:, None] - np.arange(20)
    for i, frequency in enumerate((0.05, 0.11)):
        kernel = np.cos(2 * np.pi * frequency * distance)
        expected = [dense_gain(score, with_jitter, variance * matrix @ kernel @ matrix) for variance in variances]
        assert np.allclose(waves[i], expected, rtol=1e-6)


@pytest.mark.parametrize("misfit", [0.0, 0.7])
def test_most_probable_displacements_are_those_of_a_dense_gaussian(misfit):
    rng = np.random.default_rng(4)
    factor = rng.normal(size=(12, 12))
    matrix, score = factor.T @ factor + np.eye(12), rng.normal(size=12)
    noise = matrix + misfit * np.eye(12)
    moved, covariance = scan_rows._posterior(told(matrix, score, np.full(12, misfit)), scan_rows.RowPrior(0.7, 0.4))
    kernel = scan_rows._covariance(12, scan_rows.RowPrior(0.7, 0.4)).numpy()
    # Linear regression: kernel A (A kernel A + noise)^-1 score.
    gain = kernel @ matrix @ np.linalg.inv(matrix @ kernel @ matrix + noise)
    assert np.allclose(moved, gain @ score)
    assert np.allclose(covariance, kernel - gain @ matrix @ kernel)


def test_rows_of_a_band_are_told_with_a_misfit_of_their_own():
    """A row that fewer columns cross is known less, and their misfit is as much smaller; unknown rows keep some."""
    system = np.array([[4.0, 1.0], [2.0, 0.5], [0.0, 0.0], [8.0, 0.0]])
    rows = scan_rows.ScanRows(np.zeros(0, int), np.zeros((0, 2)), system, np.array([1.0, 2.0, 3.0, 4.0]))
    some = scan_rows._Told.of(rows, slice(0, 3), 0.1, None)
    # The fourth row is not asked, and moves what the third sees, nothing here.
    assert np.allclose(some.normal.numpy(), [[4.0, 1.0, 0.0, 0.0], [1.0, 2.0, 0.5, 0.0], [0.0, 0.5, 0.0, 0.0]])
    assert np.allclose((some.noise - some.normal[:, :3]).numpy(), np.diag([0.404, 0.204, 0.004]))
    assert np.array_equal(some.score.numpy(), rows.score[:3])
    last = scan_rows._Told.of(rows, slice(2, 4), 0.1, None)
    assert last.first == 1
    assert np.allclose(last.normal.numpy(), [[0.5, 0.0, 0.0], [0.0, 0.0, 8.0]])


def test_blocks_of_rows_tell_what_all_rows_tell():
    """Columns see bends of the scan only: what is told of a sway is a small difference of what rows nearby say."""
    rng = np.random.default_rng(10)
    height = 300
    bends = np.diff(np.eye(height), n=2, axis=0) * 5.0
    matrix = bends.T @ bends + 0.01 * np.eye(height)
    shift = 30.0 * np.sin(2 * np.pi * np.arange(height) / 80.0) + rng.normal(0, 0.3, height)
    score = matrix @ shift + bends.T @ rng.normal(size=height - 2) + 0.1 * rng.normal(size=height)
    system = np.stack([np.pad(np.diagonal(matrix, k), (0, k)) for k in range(3)], axis=1)
    rows = scan_rows.ScanRows(np.zeros(0, int), np.zeros((0, 3)), system, score)
    prior = scan_rows.RowPrior(2.0, 0.9)
    found, _ = scan_rows.solve_rows(rows, prior, 1)
    whole, _ = scan_rows._posterior(scan_rows._Told.of(rows, slice(0, height), scan_rows.MISFIT_SHARE, None), prior)
    # Of 0.5; 0.057 when rows beyond a block's ends are taken to be in their place.
    assert np.abs(found[:height] - whole).max() < 0.03


def test_interference_stays_in_positions(monkeypatch, spreads):
    """Columns sway with mains interference as they do with drift: their places are where the image shows them."""
    rng = np.random.default_rng(12)
    shape, period, sway = (360, 420), 50.0, 0.015
    yx = rotated_lattice(shape, -21.0)

    def wave(row):
        return sway * np.sin(2 * np.pi * row / period + 0.7)

    shift = np.stack([np.zeros(shape[0]), wave(np.arange(shape[0])) + rng.normal(0, 0.006, shape[0])], axis=-1)
    # A row displaced forward shows a column further back. Its light sees the wave over its own height, SIGMA.
    damping = np.exp(-2.0 * (np.pi * SIGMA / PIXEL / period) ** 2)
    seen = yx - np.stack([np.zeros(len(yx)), damping * wave(yx[:, 0])], axis=-1) / PIXEL
    error, sigma = measured_from(seen, yx, shape, shift, rng)
    assert spreads[0][1] == pytest.approx(0.006, rel=0.3)
    # 90 % ellipses; columns of one scan row err together.
    assert (((error / sigma) ** 2).sum(1) < 4.605).mean() > 0.82
    # Taken for jitter, half the sway would be taken out: 0.5 * 15 pm / root 2, beside 3 pm of the columns' own.
    monkeypatch.setattr(scan_rows, "_likeliest_wave", lambda *_: scan_rows.Wave(1e-6, 0.3))
    careless, _ = measured_from(seen, yx, shape, shift, np.random.default_rng(13))
    assert np.sqrt((error[:, 1] ** 2).mean()) < 0.7 * np.sqrt((careless[:, 1] ** 2).mean())
