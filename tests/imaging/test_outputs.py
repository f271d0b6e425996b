from dataclasses import replace

import numpy as np
import pytest

from atomseg.errors import ConfigError, ModelError
from atomseg.imaging import OUTPUTS, output_image
from atomseg.imaging.outputs import discs
from atomseg.types import Prediction

PIXEL_NM = (0.03, 0.04)
SHAPE = (50, 36)
CANONICAL_NM = 0.025


def canonical_plane(wave_nm=0.6):
    """A smooth wave over the field, sampled on the canonical grid, and the function that it samples (y, x in nm)."""

    def value(y_nm, x_nm):
        return 5 + np.sin(2 * np.pi * y_nm / wave_nm) + np.cos(2 * np.pi * x_nm / wave_nm)

    n_y, n_x = (round(n * p / CANONICAL_NM) for n, p in zip(SHAPE, PIXEL_NM, strict=True))
    y, x = np.mgrid[:n_y, :n_x]
    return value((y + 0.5) * CANONICAL_NM, (x + 0.5) * CANONICAL_NM).astype(np.float32), value


@pytest.fixture
def prediction():
    plane, _ = canonical_plane()
    return Prediction(
        heatmap=np.clip(plane - 5, 0, 1),
        offset_px=np.zeros((2, *plane.shape), np.float32),
        offset_sigma_px=plane,
        restored=plane,
        crystal=plane,
        pixel_size_nm=CANONICAL_NM,
        scale=(CANONICAL_NM / PIXEL_NM[0], CANONICAL_NM / PIXEL_NM[1]),
        input_shape=SHAPE,
        model_id="none.v0",
        model_sha256="0" * 64,
        denoised=2 * plane,
        columns=plane - 5,
    )


def imaged():
    """What a perfect camera sees of the wave that is the prediction's denoised image."""
    y, x = ((np.arange(n) + 0.5) * p for n, p in zip(SHAPE, PIXEL_NM, strict=True))
    return (2 * canonical_plane()[1](y[:, None], x[None])).astype(np.float32)


IMAGE = imaged()
COLUMNS = np.array([[10.0, 10.0], [30.4, 20.7]])


@pytest.mark.parametrize("name", OUTPUTS)
def test_every_output_has_a_calibrated_picture_of_the_whole_field(prediction, name):
    made = output_image(name, prediction, IMAGE, COLUMNS, PIXEL_NM)
    assert made.image.dtype == np.float32
    field = [n * p for n, p in zip(made.image.shape, made.pixel_size_nm, strict=True)]
    assert field == pytest.approx([n * p for n, p in zip(SHAPE, PIXEL_NM, strict=True)])


@pytest.mark.parametrize(("name", "factor", "offset"), [("denoised", 2, 0), ("super_resolved", 1, 0)])
def test_pictures_lie_where_the_input_does(prediction, name, factor, offset):
    """Against the function that was sampled; cubic interpolation of 24 samples a wave is good to 1e-3 inside."""
    made = output_image(name, prediction, IMAGE, COLUMNS, PIXEL_NM)
    y, x = ((np.arange(n) + 0.5) * p for n, p in zip(made.image.shape, made.pixel_size_nm, strict=True))
    expected = factor * canonical_plane()[1](y[:, None], x[None]) + offset
    inner = (slice(6, -6), slice(6, -6))
    assert np.abs(made.image - expected)[inner].max() < 0.01 * factor


def test_super_resolved_pixels_are_whole_parts_of_the_input_and_no_coarser_than_the_network(prediction):
    coarse = output_image("super_resolved", prediction, IMAGE, COLUMNS, PIXEL_NM)
    assert coarse.image.shape == (2 * SHAPE[0], 2 * SHAPE[1])
    assert max(coarse.pixel_size_nm) <= CANONICAL_NM
    fine = replace(prediction, scale=(1.0, 1.0), input_shape=prediction.restored.shape)
    assert (
        output_image("super_resolved", fine, fine.restored, COLUMNS, (0.025, 0.025)).image.shape
        == prediction.restored.shape
    )


def test_the_mask_has_a_disc_of_fifty_picometres_a_column(prediction):
    mask = output_image("circular_mask", prediction, IMAGE, COLUMNS, PIXEL_NM).image
    assert set(np.unique(mask)) == {0.0, 1.0}
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]]
    away = [np.hypot((rows - y) * PIXEL_NM[0], (cols - x) * PIXEL_NM[1]) for y, x in COLUMNS]
    assert np.array_equal(mask == 1, np.min(away, axis=0) <= 0.05)
    # On fine pixels the area is that of circles, to a ring of half a pixel.
    fine = discs(np.array([[100.3, 99.6]]), (200, 200), (0.001, 0.001), 0.05)
    assert fine.sum() == pytest.approx(np.pi * 50**2, rel=0.01)
    assert not discs(np.zeros((0, 2)), (4, 4), (0.02, 0.02), 0.05).any()


def test_columns_alone_are_never_negative_and_the_mask_stays_a_probability(prediction):
    assert output_image("denoised_without_background", prediction, IMAGE, COLUMNS, PIXEL_NM).image.min() >= 0
    mask = output_image("gaussian_mask", prediction, IMAGE, COLUMNS, PIXEL_NM).image
    assert 0 <= mask.min() <= mask.max() <= 1


def test_what_a_model_does_not_answer_is_an_error(prediction):
    old = replace(prediction, denoised=None, columns=None)
    for name in ("denoised", "denoised_without_background"):
        with pytest.raises(ModelError, match=r"none\.v0 does not answer"):
            output_image(name, old, IMAGE, COLUMNS, PIXEL_NM)
    with pytest.raises(ConfigError, match="super_resolved"):
        output_image("denoise", prediction, IMAGE, COLUMNS, PIXEL_NM)
