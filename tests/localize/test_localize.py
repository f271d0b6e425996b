"""From a prediction to columns: peaks, refinement, what is dropped and what is flagged."""

import dataclasses

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from atomseg.errors import ConfigError
from atomseg.localize import LocalizeConfig, find_peaks, localize
from atomseg.localize.peaks import strongest
from atomseg.localize.windows import FWHM_PER_SIGMA
from atomseg.types import Calibration, CalibrationOrigin, Micrograph, Prediction

CANONICAL_NM = 0.02


def predicted(yx_canonical, shape, scale, input_shape, *, probability=1.0):
    """Heat map with a peak a column and the offset to it, as a perfect network would say."""
    heat = np.zeros(shape, np.float32)
    near = np.rint(yx_canonical).astype(int)
    heat[near[:, 0], near[:, 1]] = 1.0
    heat = gaussian_filter(heat, 1.5)
    heat = heat / heat.max() * probability
    distance = np.stack(np.meshgrid(*(np.arange(n) for n in shape), indexing="ij"), axis=-1)
    nearest = ((distance[:, :, None] - yx_canonical) ** 2).sum(-1).argmin(-1)
    offset = (yx_canonical[nearest] - distance).transpose(2, 0, 1).astype(np.float32)
    return Prediction(
        heatmap=heat,
        offset_px=offset,
        offset_sigma_px=np.full(shape, 0.5, np.float32),
        restored=np.zeros(shape, np.float32),
        crystal=np.ones(shape, np.float32),
        pixel_size_nm=CANONICAL_NM,
        scale=scale,
        input_shape=input_shape,
        model_id="test",
        model_sha256="0",
    )


def lattice_image(rng, *, peak=60.0):
    """Micrograph on pixels that are neither square nor canonical, with its columns in both grids."""
    pixel = (0.016, 0.025)
    shape, input_shape = (110, 120), (137, 96)
    scale = (input_shape[0] / shape[0], input_shape[1] / shape[1])
    canonical = np.array([(y, x) for y in range(9, 104, 14) for x in range(9, 112, 16)]) + rng.uniform(
        -0.5, 0.5, (49, 2)
    )
    yx = (canonical + 0.5) * scale - 0.5
    grid_y, grid_x = np.mgrid[: input_shape[0], : input_shape[1]]
    image = np.full(input_shape, 12.0)
    for cy, cx in yx:
        r2 = ((grid_y - cy) * pixel[0]) ** 2 + ((grid_x - cx) * pixel[1]) ** 2
        image += peak * np.exp(-0.5 * r2 / 0.05**2)
    micrograph = Micrograph(rng.poisson(image).astype(np.float32), Calibration(pixel, CalibrationOrigin.USER))
    return micrograph, canonical, yx, predicted(canonical, shape, scale, input_shape)


def test_peaks_come_back_in_input_pixels():
    _, _, yx, prediction = lattice_image(np.random.default_rng(0))
    peaks = find_peaks(prediction, 0.08)
    assert len(peaks) == len(yx)
    order = np.lexsort((yx[:, 1].round(), yx[:, 0].round()))
    found = peaks.yx_px[np.lexsort((peaks.yx_px[:, 1].round(), peaks.yx_px[:, 0].round()))]
    # Offsets are float32, otherwise exact.
    assert np.abs(found - yx[order]).max() < 1e-4
    assert np.allclose(peaks.sigma_px, 0.5 * np.asarray(prediction.scale))


def test_localize_places_columns_on_the_original_pixels():
    micrograph, _, yx, prediction = lattice_image(np.random.default_rng(1))
    before = micrograph.image.copy()
    table = localize(micrograph, prediction, LocalizeConfig()).table
    assert len(table) == len(yx)
    distance = np.linalg.norm(
        (table[["y_px", "x_px"]].to_numpy()[:, None] - yx) * micrograph.calibration.pixel_size_nm, axis=-1
    )
    # 2 pm of noise a coordinate: 10 pm is out of reach.
    assert distance.min(1).max() < 0.010
    assert np.array_equal(table["id"], np.arange(len(yx)))
    assert np.allclose(table["y_nm"], table["y_px"] * 0.016)
    assert np.array_equal(micrograph.image, before)


def test_unsure_peaks_without_light_are_not_columns():
    rng = np.random.default_rng(2)
    micrograph, canonical, _, _ = lattice_image(rng)
    scale, shape = (137 / 110, 96 / 120), (110, 120)
    wrong = np.array([(16.0, 17.0), (44.0, 49.0), (72.0, 81.0)])
    both = np.concatenate([canonical, wrong])
    unsure = predicted(both, shape, scale, micrograph.shape, probability=0.6)
    assert len(find_peaks(unsure, 0.08)) == len(both)
    assert len(localize(micrograph, unsure, LocalizeConfig())) <= len(canonical) + 1
    sure = predicted(both, shape, scale, micrograph.shape, probability=0.95)
    assert len(localize(micrograph, sure, LocalizeConfig())) >= len(canonical) + 2


def test_blank_prediction_gives_no_columns():
    micrograph, canonical, _, prediction = lattice_image(np.random.default_rng(3))
    blank = predicted(canonical, (110, 120), prediction.scale, micrograph.shape, probability=0.3)
    assert len(localize(micrograph, blank, LocalizeConfig())) == 0


def test_columns_where_nothing_was_seen_are_not_listed():
    micrograph, _, yx, prediction = lattice_image(np.random.default_rng(0))
    invalid = np.zeros(micrograph.shape, dtype=bool)
    invalid[:, :30] = True
    # A dead pixel on a column leaves it.
    invalid[tuple(np.rint(yx[-1]).astype(int))] = True
    found = localize(dataclasses.replace(micrograph, invalid=invalid), prediction, LocalizeConfig()).table
    assert len(found) == (yx[:, 1] > 29.5).sum()


def test_columns_below_a_bar_have_no_pixels_to_be_told_by():
    micrograph, _, yx, prediction = lattice_image(np.random.default_rng(0))
    invalid = np.zeros(micrograph.shape, dtype=bool)
    # Over some columns wholly, over others by half and more: a window of neither holds as many pixels as a fit needs.
    invalid[40:60], invalid[:, 50:53] = True, True
    found = localize(dataclasses.replace(micrograph, invalid=invalid), prediction, LocalizeConfig()).table
    assert np.isfinite(found[["y_px", "sigma_y_pm", "amplitude_err"]]).all(axis=None)
    # A core is 0.12 nm: 8 rows of 16 pm, 5 columns of 25 pm.
    clear = ((yx[:, 0] < 36) | (yx[:, 0] > 63)) & ((yx[:, 1] < 47) | (yx[:, 1] > 55))
    assert clear.sum() <= len(found) < len(yx)


def test_strongest_keeps_the_high_ones_and_what_only_touched_removed_ones():
    line = np.array([(0.0, 0.0), (0.0, 0.05), (0.0, 0.10), (0.0, 0.3)])
    # The middle one falls to the first; the third touched only the middle one and stays.
    assert strongest(line, np.array([0.9, 0.5, 0.4, 0.1]), 0.06).tolist() == [0, 2, 3]
    assert strongest(line, np.array([0.1, 0.5, 0.4, 0.1]), 0.06).tolist() == [1, 3]


@pytest.mark.parametrize("name", ["merge_nm", "max_shift_fwhm", "window_fwhm", "max_iterations", "tolerance_pm"])
def test_config_refuses_what_makes_no_sense(name):
    with pytest.raises(ConfigError, match=f"localize.{name} is -1; allowed"):
        LocalizeConfig(**{name: -1})


def test_a_column_whose_centre_lies_outside_the_image_is_not_listed():
    rng = np.random.default_rng(8)
    yx = np.array([(y, x) for y in (-1.5, 12.0, 26.0, 40.0) for x in range(8, 60, 14)])
    grid_y, grid_x = np.mgrid[:48, :60]
    light = sum(np.exp(-0.5 * ((grid_y - y) ** 2 + (grid_x - x) ** 2) / 2.5**2) for y, x in yx)
    micrograph = Micrograph(
        rng.poisson(100.0 + 4000.0 * light).astype(np.float32),
        Calibration((CANONICAL_NM, CANONICAL_NM), CalibrationOrigin.USER),
    )
    # The network sees the light of the first row at the border and puts it inside.
    clipped = np.maximum(yx, 0.0)
    prediction = predicted(clipped, light.shape, (1.0, 1.0), light.shape)
    assert len(find_peaks(prediction, 0.08)) == len(yx)
    table = localize(micrograph, prediction, LocalizeConfig()).table
    assert len(table) == len(yx) - 4
    assert table["y_px"].min() > 10.0


# Apart, and so wide that a dim column is a shoulder of four bright ones.
@pytest.mark.parametrize("width_px", [2.5, 3.5])
def test_doubted_peaks_are_columns_where_their_light_is_clear(width_px):
    rng = np.random.default_rng(9)
    yx = np.array([(y, x) for y in range(8, 160, 12) for x in range(8, 160, 12)], dtype=float)
    # A chessboard of bright and other sites. Of these half are as bright, a quarter dim, a quarter empty; the network
    # doubts the dim and the empty ones alike.
    other = (yx.sum(1) - 16) // 12 % 2 == 1
    draw = rng.random(len(yx))
    height = np.where(~other | (draw < 0.5), 1.0, np.where(draw < 0.75, 0.15, 0.0))
    grid_y, grid_x = np.mgrid[:160, :160]
    light = sum(
        h * np.exp(-0.5 * ((grid_y - y) ** 2 + (grid_x - x) ** 2) / width_px**2)
        for h, (y, x) in zip(height, yx, strict=True)
    )
    # Beside one of the empty sites stands a grain of something else, a third of a width away: it is no column there.
    y, x = yx[height == 0][3]
    light += 0.3 * np.exp(
        -0.5 * ((grid_y - y - 0.3 * FWHM_PER_SIGMA * width_px) ** 2 + (grid_x - x) ** 2) / width_px**2
    )
    micrograph = Micrograph(
        rng.poisson(200.0 + 2000.0 * light).astype(np.float32),
        Calibration((CANONICAL_NM, CANONICAL_NM), CalibrationOrigin.USER),
    )
    prediction = predicted(yx, light.shape, (1.0, 1.0), light.shape)
    doubted = height < 1.0
    heat = prediction.heatmap.copy()
    for y, x in yx[doubted].astype(int):
        heat[y - 5 : y + 6, x - 5 : x + 6] *= 0.4
    told = dataclasses.replace(prediction, heatmap=heat)
    table = localize(micrograph, told, LocalizeConfig()).table
    found = {(round(y), round(x)) for y, x in table[["y_px", "x_px"]].to_numpy()}
    assert found == {(int(y), int(x)) for y, x in yx[height > 0]}
    assert (table["probability"] < 0.5).sum() == ((height > 0) & doubted).sum()
    # Without others of their kind that are sure, doubted peaks are none.
    everywhere = dataclasses.replace(prediction, heatmap=np.where(heat > 0.45, heat, 0.0).astype(np.float32))
    lone = everywhere.heatmap.copy()
    lone[2, 2] = 0.4
    assert len(find_peaks(dataclasses.replace(everywhere, heatmap=lone), 0.08)) == len(find_peaks(everywhere, 0.08))


@pytest.mark.parametrize(("first_row_px", "listed"), [(0.3, False), (2.0, True)])
def test_doubted_columns_that_may_stand_outside_are_not_listed(first_row_px, listed):
    rng = np.random.default_rng(10)
    yx = np.array([(first_row_px + 12 * row, 8 + 12 * col) for row in range(13) for col in range(12)])
    grid_y, grid_x = np.mgrid[:160, :152]
    light = sum(np.exp(-0.5 * ((grid_y - y) ** 2 + (grid_x - x) ** 2) / 2.5**2) for y, x in yx)
    micrograph = Micrograph(
        rng.poisson(200.0 + 2000.0 * light).astype(np.float32),
        Calibration((CANONICAL_NM, CANONICAL_NM), CalibrationOrigin.USER),
    )
    prediction = predicted(yx, light.shape, (1.0, 1.0), light.shape)
    heat = prediction.heatmap.copy()
    for x in (20, 68, 116):
        heat[:8, x - 5 : x + 6] *= 0.4
    table = localize(micrograph, dataclasses.replace(prediction, heatmap=heat), LocalizeConfig()).table
    assert (table["probability"] < 0.5).sum() == (3 if listed else 0)
