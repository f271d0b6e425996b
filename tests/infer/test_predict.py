from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from atomseg.errors import ConfigError, InputError
from atomseg.imaging import NormalizeConfig, to_canonical
from atomseg.infer import InferConfig, infer
from atomseg.networks import Model, ModelCard, TrainingRecord, UNet, UNetConfig, load_model
from atomseg.types import Calibration, CalibrationOrigin, Micrograph


@pytest.fixture(scope="module")
def model():
    """Random weights and statistics: nothing in these tests depends on what a network has learned."""
    torch.manual_seed(4)
    config = UNetConfig(channels=(6, 8, 10), bottom_blocks=1)
    network = UNet(config)
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.uniform_(-0.3, 0.3)
            module.running_var.uniform_(0.5, 1.5)
    training = TrainingRecord(
        config={},
        simulation={},
        begun_with="",
        seed=0,
        steps=0,
        scenes=0,
        seconds=0,
        commit="",
        version="",
        device="",
        packages={},
        date="",
    )
    card = ModelCard(
        id="random.t0",
        sha256="0" * 64,
        architecture=config,
        normalization=NormalizeConfig(),
        pixel_size_nm=0.025,
        valid_pixel_size_nm=(0.006, 0.045),
        heatmap_threshold=0.37,
        training=training,
        accuracy={},
        limits=(),
    )
    return Model(network=network.eval(), card=card, sha256="0" * 64, device=torch.device("cpu"), folder=Path())


def micrograph(shape=(150, 170), pixel_nm=(0.02, 0.02), seed=0, gain=1.0, offset=0.0):
    rng = np.random.default_rng(seed)
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    lattice = np.cos(2 * np.pi * rows * pixel_nm[0] / 0.24) * np.cos(2 * np.pi * cols * pixel_nm[1] / 0.25)
    image = 50 + 20 * lattice + rng.normal(0, 5, shape)
    calibration = Calibration(pixel_size_nm=pixel_nm, origin=CalibrationOrigin.USER)
    return Micrograph(image=(gain * image + offset).astype(np.float32), calibration=calibration)


@pytest.mark.parametrize("side", [60, 100, 130, 200])
def test_threads_change_no_digit(side):
    """Released weights: on random ones the order of a sum was not seen to change."""
    released, threads, seen = load_model(), torch.get_num_threads(), []
    try:
        for n in (1, 2):
            torch.set_num_threads(n)
            seen.append(infer(micrograph((side, side), (0.025, 0.025)), released))
            assert torch.get_num_threads() == n
    finally:
        torch.set_num_threads(threads)
    assert all(np.array_equal(getattr(seen[0], name), getattr(seen[1], name)) for name in MAPS)


MAPS = ("heatmap", "offset_px", "offset_sigma_px", "restored", "crystal")


@pytest.mark.parametrize("shape", [(700, 520), (331, 257)])
def test_tiling_does_not_change_the_result(model, shape):
    image = micrograph(shape, (0.025, 0.025))
    whole = infer(image, model, InferConfig(tile_px=1024))
    tiled = infer(image, model, InferConfig(tile_px=64))
    for name in MAPS:
        # Convolutions of another size may add in another order: float32 rounding through a dozen layers.
        assert np.abs(getattr(whole, name) - getattr(tiled, name)).max() < 1e-4, name


def test_shapes_ranges_and_the_record(model):
    image = micrograph((101, 87), (0.02, 0.03))
    prediction = infer(image, model)
    shape = (81, 104)  # 101 * 0.02 / 0.025 and 87 * 0.03 / 0.025, rounded
    assert prediction.heatmap.shape == prediction.crystal.shape == prediction.restored.shape == shape
    assert prediction.offset_px.shape == (2, *shape)
    for name in MAPS:
        values = getattr(prediction, name)
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
    assert 0 <= prediction.heatmap.min() <= prediction.heatmap.max() <= 1
    assert (prediction.offset_sigma_px > 0).all()
    assert (prediction.restored >= 0).all()
    assert prediction.scale == pytest.approx((0.025 / 0.02, 0.025 / 0.03))
    assert prediction.input_shape == (101, 87)
    assert (prediction.model_id, prediction.heatmap_threshold) == ("random.t0", 0.37)


@pytest.mark.parametrize(("gain", "offset"), [(40.0, 0.0), (1.0, 900.0)])
def test_gain_scales_the_restored_image_and_nothing_else(model, gain, offset):
    one, other = infer(micrograph(), model), infer(micrograph(gain=gain, offset=offset), model)
    # float32 intensities near 1000 with contrast of 40 are rounded to 3e-6 of it; the network amplifies that 100 x.
    assert np.abs(one.heatmap - other.heatmap).max() < 2e-3
    assert np.abs(one.offset_px - other.offset_px).max() < 5e-3
    assert np.allclose(gain * one.restored, other.restored, atol=5e-3 * gain * one.restored.max())


def test_images_of_columns_are_the_network_s_times_the_local_scale_where_there_is_crystal():
    """Released weights, on a lattice beside noise that is as bright."""
    released, image = load_model(), micrograph((160, 192), (0.025, 0.025))
    noise = 50 + np.random.default_rng(1).normal(0, 5, (160, 80))
    image.image[:, :80] = noise
    view = to_canonical(image.image, image.calibration.pixel_size_nm, 0.025, released.card.normalization)
    with torch.inference_mode():
        raw = released.network(torch.from_numpy(view.normalized.image)[None, None])
    seen, crystal = infer(image, released), torch.sigmoid(raw.crystal)[0, 0].numpy()
    for shown, answer in ((seen.restored, raw.restored), (seen.columns, raw.columns)):
        expected = np.maximum(answer[0, 0].numpy(), 0) * view.normalized.scale
        assert np.allclose(shown[crystal > 0.9], expected[crystal > 0.9], rtol=1e-4, atol=1e-4)
        assert (shown[crystal < 0.5] == 0).all()
        assert expected[crystal < 0.5].max() > 0
        assert (shown <= expected + 1e-4).all()
    # Without this the comparisons are of nothing: crystal on the right, none on the left.
    assert (crystal[:, 100:] > 0.9).mean() > 0.95
    assert (crystal[:, :60] < 0.5).mean() > 0.95


@pytest.mark.parametrize("shape", [(1, 1), (10, 10), (1, 200), (257, 3)])
def test_tiny_images(model, shape):
    prediction = infer(micrograph(shape), model)
    assert np.isfinite(prediction.heatmap).all()
    assert prediction.heatmap.shape == tuple(max(1, round(n * 0.8)) for n in shape)


def test_an_image_without_contrast_is_finite(model):
    flat = replace(micrograph(), image=np.full((150, 170), 7, np.float32))
    prediction = infer(flat, model)
    assert np.isfinite(prediction.heatmap).all()


def test_the_input_is_left_alone(model):
    image = micrograph()
    before = image.image.copy()
    infer(image, model)
    assert np.array_equal(image.image, before)


def test_an_image_that_would_fill_the_memory_is_refused(model):
    huge = replace(
        micrograph((1, 1)),
        image=np.broadcast_to(np.float32(0), (90_000, 90_000)),
    )
    with pytest.raises(InputError, match=r"allowed 4e\+08"):
        infer(huge, model)


@pytest.mark.parametrize("tile", [0, 32, 10**5])
def test_settings_out_of_range_name_the_key(tile):
    with pytest.raises(ConfigError, match="tile_px"):
        InferConfig(tile_px=tile)
