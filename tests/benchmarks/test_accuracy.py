"""What the accuracy benchmarks compute by themselves: bounds, scores, spreads, injected displacements."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

FOLDER = Path(__file__).resolve().parents[2] / "benchmarks"


@pytest.fixture(scope="module", autouse=True)
def _importable():
    folders = [str(FOLDER), str(FOLDER / "accuracy")]
    sys.path[:0] = folders
    yield
    for folder in folders:
        sys.path.remove(folder)


SIGMA, PIXEL = 0.05, (0.02, 0.02)


def bound(peak, level, *, yx=((0.0, 0.0),), unknown=None, pixel=PIXEL):
    from bounds import gaussian_inverse, joint_bound_nm

    yx = np.asarray(yx, float)
    return joint_bound_nm(
        yx,
        np.full(len(yx), peak),
        np.full(len(yx), level),
        inverse=gaussian_inverse(SIGMA, SIGMA, 0.0),
        pixel_nm=pixel,
        chosen=np.array([0]),
        unknown=np.ones(len(yx), bool) if unknown is None else unknown,
    )[0]


def test_bound_of_an_isolated_column_is_that_of_the_closed_form():
    peak = 1000.0
    counts = peak * 2 * np.pi * SIGMA**2 / np.prod(PIXEL)
    for level in (0.02 * peak, 0.3 * peak, 2.0 * peak):
        tau = level / peak
        # Rieger and Stallinga (10.1002/cphc.201300711), an approximation that they find good to a few per cent.
        expected = SIGMA / np.sqrt(counts) * np.sqrt(1 + 4 * tau + np.sqrt(2 * tau / (1 + 4 * tau)))
        # The plane of background takes up to a tenth of the information.
        np.testing.assert_allclose(bound(peak, level), expected, rtol=0.1)


def test_bound_on_bright_background_is_the_integral_of_the_squared_slope():
    peak, level = 1.0, 1e4
    # Information is peak² / level times the integral of (x / s²)² exp(-r² / s²), pi / 2, over the pixel area.
    expected = np.sqrt(2.0 * level / np.pi * np.prod(PIXEL)) / peak
    # The plane of background shares slope with the position: the bound is above the integral, by under a tenth.
    found = bound(peak, level)
    assert np.all((found >= 0.999 * expected) & (found < 1.1 * expected))


def test_bound_does_not_depend_on_fine_pixels():
    fine = bound(100.0 / 16, 50.0 / 16, pixel=(0.005, 0.005))
    # The same dose on pixels a quarter as wide; sums on grids of 0.4 widths are exact to below a per cent.
    np.testing.assert_allclose(fine, bound(100.0, 50.0), rtol=0.01)


def test_bound_grows_beside_an_unknown_neighbour_and_not_beside_a_known_one_far_away():
    alone = bound(100.0, 50.0)
    far = bound(100.0, 50.0, yx=((0.0, 0.0), (0.6, 0.0)))
    np.testing.assert_allclose(far, alone, rtol=1e-3)
    pair = ((0.0, 0.0), (0.11, 0.0))
    close, known = (bound(100.0, 150.0, yx=pair, unknown=np.array([True, u])) for u in (True, False))
    # Along the pair it is costly; across it only the plane of background is shared.
    assert close[0] > 1.3 * known[0]
    np.testing.assert_allclose(close[1], known[1], rtol=0.05)


def test_bound_of_a_close_pair_is_what_maximum_likelihood_reaches():
    from scipy.optimize import minimize

    rng = np.random.default_rng(0)
    y, x = np.mgrid[-12:13, -12:19] * PIXEL[0]
    true = np.array([0.0, 0.0, 400.0, 0.0, 0.12, 400.0])

    def expected(p):
        cores = [p[k + 2] * np.exp(-0.5 * ((y - p[k]) ** 2 + (x - p[k + 1]) ** 2) / SIGMA**2) for k in (0, 3)]
        return 200.0 + sum(cores)

    errors = []
    scale = np.array([0.01, 0.01, 40.0] * 2)
    for _ in range(60):
        image = rng.poisson(expected(true))

        def cost(q, image=image):
            model = np.maximum(expected(true + q * scale), 1e-3)
            return float((model - image * np.log(model)).sum())

        best = minimize(cost, np.zeros(6), method="BFGS", options={"gtol": 1e-2})
        errors.append((best.x * scale)[:2])
    shared = 400.0 * np.exp(-0.5 * 0.12**2 / SIGMA**2)
    told = bound(400.0, 200.0 + shared, yx=((0.0, 0.0), (0.0, 0.12)))
    # 60 draws know a standard deviation to 1 / sqrt(120) = 9 %; the plane of background costs a few per cent more.
    np.testing.assert_allclose(np.std(errors, axis=0), told, rtol=0.25)


def test_f1_of_the_bound_is_the_share_of_errors_below_fifty_picometres():
    from scoring import Image, compare

    rng = np.random.default_rng(0)
    true = np.stack(np.meshgrid(np.arange(60) * 0.3, np.arange(60) * 0.3), -1).reshape(-1, 2)
    bound = np.full(true.shape, 0.025)
    found = true + rng.normal(0.0, bound)
    row = compare(Image(found, true, np.ones(len(true), bool), PIXEL, bound_nm=bound)).row()
    # 1 - exp(-2) = 0.865; of 3600 columns the share is known to 0.6 %.
    assert row["f1_of_bound"] == pytest.approx(1.0 - np.exp(-2.0))
    assert row["f1_50pm"] == pytest.approx(row["f1_of_bound"], abs=0.02)


def test_white_jitter_is_averaged_by_the_lines_of_a_column():
    from bounds import gaussian_inverse, jitter_pm

    inverse = gaussian_inverse(SIGMA, SIGMA, 0.0)
    found = jitter_pm(6.0, 0.0, inverse=inverse, pixel_y_nm=0.005)
    # Weights exp(-y² / s²): the sum of their squares is p / (sqrt(2 pi) s).
    assert found[1] == pytest.approx(6.0 * np.sqrt(0.005 / (np.sqrt(2 * np.pi) * SIGMA)), rel=1e-3)
    # Fully correlated lines are not averaged at all.
    np.testing.assert_allclose(jitter_pm(6.0, 1.0, inverse=inverse, pixel_y_nm=0.005), [2.0, 6.0], rtol=1e-9)


def lattice(n=20, spacing=0.25):
    y, x = np.meshgrid(np.arange(n) * spacing, np.arange(n) * spacing, indexing="ij")
    return np.stack([y.ravel(), x.ravel()], axis=1) + 0.5


def test_scores_of_exact_counts():
    from scoring import Image, compare

    true = lattice()
    required = np.ones(len(true), bool)
    required[:40] = False
    # 30 of the columns that need not be found, all others but 10, one 80 pm off, and 5 of nothing.
    found = np.concatenate([true[10:-10], [[0.2, 0.2]] * 1, true[100:104] + 0.12])
    found[100] += np.array([0.0, 0.08])
    row = compare(Image(found, true, required, PIXEL)).row()
    assert row["n_required"] == 360
    assert row["false"] == 1 + 1 + 4
    assert row["recall_50pm"] == pytest.approx(349 / 360)
    assert row["precision_50pm"] == pytest.approx(349 / 355)


def test_columns_on_the_rim_are_not_called_false():
    from scoring import Image, compare

    true = lattice(4)
    found = np.concatenate([true, [[0.03, 0.7], [0.7, 1.92], [0.2, 0.2]]])
    every = np.ones(len(true), bool)
    # 2 nm of 20 pm pixels end at 1.98 nm; what lies within 50 pm of that is let be.
    assert compare(Image(found, true, every, PIXEL, size_nm=(2.0, 2.0))).false == 2
    assert compare(Image(found[:-1], true, every, PIXEL, size_nm=(2.0, 1.98))).false == 0
    assert compare(Image(found, true, every, PIXEL)).false == 3


def test_slopes_show_shrinkage_to_the_lattice_and_to_pixels():
    from scoring import Image, compare

    rng = np.random.default_rng(1)
    sites = lattice(40)
    moved = sites + rng.normal(0.0, 0.006, sites.shape)
    every = np.ones(len(sites), bool)
    honest = compare(Image(moved, moved, every, PIXEL)).row()
    shrunk = compare(Image(sites + 0.6 * (moved - sites), moved, every, PIXEL)).row()
    assert honest["slope_lattice"] == pytest.approx(1.0, abs=1e-9)
    assert shrunk["slope_lattice"] == pytest.approx(0.6, abs=1e-9)
    pixel = np.asarray(PIXEL)
    locked = pixel * (np.round(moved / pixel) + 0.7 * (moved / pixel - np.round(moved / pixel)))
    assert compare(Image(locked, moved, every, PIXEL)).row()["slope_subpixel"] == pytest.approx(0.7, abs=1e-9)


def test_coverage_and_ratio_of_errors_that_are_as_claimed():
    from scoring import Image, compare

    rng = np.random.default_rng(2)
    true = lattice(60)
    sigma = rng.uniform(0.002, 0.01, true.shape)
    image = Image(true + rng.normal(size=true.shape) * sigma, true, np.ones(len(true), bool), PIXEL, sigma, sigma)
    row = compare(image).row()
    # 3600 columns: the share is known to sqrt(0.09 / 3600) = 0.5 %, the ratio to about 1.5 %.
    assert row["coverage90"] == pytest.approx(0.9, abs=0.02)
    assert row["rmse_over_bound"] == pytest.approx(1.0, abs=0.05)
    assert row["median_over_bound"] == pytest.approx(1.0, abs=0.05)


def sample(yx_nm, amplitude, side=400, pixel=0.02):
    from real_precision import Sample

    from atomseg.types import Calibration, CalibrationOrigin, Columns, Micrograph
    from atomseg.types.columns import LOCALIZATION_FIELDS

    image = np.zeros((side, side), np.float32)
    micrograph = Micrograph(image=image, calibration=Calibration((pixel, pixel), CalibrationOrigin.USER), name="test")
    table = pd.DataFrame({name: np.zeros(len(yx_nm)) for name in LOCALIZATION_FIELDS})
    width = 2.5 * pixel * 2.0 * np.sqrt(2.0 * np.log(2.0))
    table = table.assign(fwhm_major_nm=width, fwhm_minor_nm=width, amplitude=amplitude)
    table[["y_px", "x_px"]], table[["y_nm", "x_nm"]] = yx_nm / pixel, yx_nm
    return Sample("test", micrograph, Columns(table))


@pytest.mark.parametrize("second", [(0.136, 0.0), (0.192, 0.192)])
def test_lattice_vectors_are_translations_of_the_crystal_not_of_its_pattern(second):
    from real_precision import index_pairs, lattice_vectors, spreads

    rng = np.random.default_rng(3)
    sites = lattice(18, 0.384)
    # Dumbbells of 0.136 nm, or a centred cell with a dim second column: neither vector is a translation.
    other = sites + np.array(second)
    exact = np.concatenate([sites, other])
    noisy = exact + rng.normal(0.0, 0.004, exact.shape)
    amplitude = np.concatenate([np.full(len(sites), 1.0), np.full(len(other), 0.5)])
    found = lattice_vectors(sample(noisy, amplitude))
    assert len(found) == 2
    np.testing.assert_allclose(np.sort(np.abs(found), axis=None), [0, 0, 0.384, 0.384], atol=0.004)
    numbers = spreads(noisy, found, [index_pairs(noisy, v) for v in found])
    # A vector has the errors of two columns; several hundred vectors know a spread to about 4 %.
    assert numbers["spread_pm"] == pytest.approx(4.0 * np.sqrt(2), rel=0.12)
    assert numbers["local_pm"] == pytest.approx(4.0, rel=0.12)


def test_shift_and_wave_move_a_column_as_told():
    from dataclasses import replace

    from real_precision import bent, shifted, with_moved_columns

    y, x = np.mgrid[:120, :120]

    def column(cy, cx):
        return 100 * np.exp(-0.5 * ((y - cy) ** 2 + (x - cx) ** 2) / 2.5**2)

    moved = shifted(column(60.0, 61.0), np.array([0.37, -0.21]))
    # Fourier interpolation of a band-limited image is exact to float32.
    np.testing.assert_allclose(moved, column(60.37, 60.79), atol=1e-3)
    one = sample(np.array([[1.2, 1.22]]), np.full(1, 100.0), side=120)
    one = replace(one, micrograph=replace(one.micrograph, image=column(60.0, 61.0).astype(np.float32)))
    image, displacement = bent(one)
    total = image.sum()
    centre = np.array([(y * image).sum() / total, (x * image).sum() / total])
    # The wave bends within a column too: 0.1 px of 0.5 px, and exactness is not needed to tell a slope of 0.98.
    np.testing.assert_allclose(centre - [60.0, 61.0], displacement[0], atol=0.05)
    assert np.abs(displacement).max() > 0.2
    # A column that moves as it is is the same elsewhere, to what a Gaussian is cut off at.
    image, displacement = with_moved_columns(one)
    np.testing.assert_allclose(image, column(*(np.array([60.0, 61.0]) + displacement[0])), atol=0.05)


def test_the_image_as_the_columns_made_it_has_no_background():
    from restoration import as_imaged, draw

    from atomseg.types import Prediction

    picture = draw(1000.0, 0.025, np.random.default_rng(0))
    clean = picture.clean(0.05)
    plane = (clean + picture.background).astype(np.float32)
    answer = Prediction(
        heatmap=plane, offset_px=np.zeros((2, *plane.shape), np.float32), offset_sigma_px=plane, restored=plane,
        crystal=plane, pixel_size_nm=0.025, scale=(1.0, 1.0), input_shape=plane.shape, model_id="none.v0",
        model_sha256="0" * 64, denoised=plane,
    )  # fmt: skip
    # A right answer stays right: what comes back of the noise is less than a tenth of it.
    left = as_imaged(picture, answer) - clean
    assert left.std() < 0.1 * (picture.noisy - plane).std()
