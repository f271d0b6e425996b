"""Training labels of simulated scenes whose detector glows: all of them at the place that the image shows."""

import numpy as np
import pytest

from atomseg.simulate import DetectorConfig, ScanConfig, SceneConfig, SurfaceConfig, simulate
from atomseg.train import TrainConfig
from atomseg.train.dataset import make_example


def glowing(decay_px: float) -> SceneConfig:
    """Cathodes of 25 pm pixels, those that labels are drawn on, without jitter."""
    detector = DetectorConfig(
        counts=(1e6, 1e6), p_usual=0.0, formats=("float32",), p_gamma=0.0, p_filter=0.0,
        p_afterglow=1.0 if decay_px else 0.0, afterglow_px=(decay_px, decay_px) if decay_px else (1.0, 1.0),
    )  # fmt: skip
    pixel = {"pixel_size_nm": (0.025, 0.025), "anisotropy": (0.0, 0.0), "jitter_pm": (0.0, 0.0), "p_wobble": 0.0}
    return SceneConfig(
        shape=(130, 130), p_cathode=1.0, p_other=0.0, p_nothing=0.0, detector=detector,
        surface=SurfaceConfig(p_none=1.0, p_edge=0.0, p_crack=0.0), scan=ScanConfig(**pixel, p_jump=0.0, p_flyback=0.0),
    )  # fmt: skip


def mean_offset(image, yx, reach):
    """(2,) mean centre of mass of squared peaks against the given places, pixels."""
    step, found = np.arange(-reach, reach + 1), []
    for y, x in yx:
        row, col = round(y), round(x)
        patch = image[row - reach : row + reach + 1, col - reach : col + reach + 1].astype(float)
        patch = np.square(patch - patch.min())
        mass = patch.sum()
        found.append((row + (patch.sum(1) @ step) / mass - y, col + (patch.sum(0) @ step) / mass - x))
    return np.mean(found, axis=0)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("decay_px", [0.0, 2.0])
def test_heat_map_offsets_and_clean_image_agree_on_the_place(decay_px, seed):
    scene = simulate(glowing(decay_px), np.random.default_rng(seed), truth="columns")
    example = make_example(scene, TrainConfig(crop_px=128), np.random.default_rng(seed))
    columns = example.truth
    bright = columns.required & (columns.amplitude > 0.8 * np.median(columns.amplitude[columns.required]))
    yx = columns.yx_px[bright & ((columns.yx_px > 8) & (columns.yx_px < 119)).all(axis=1)]
    assert len(yx) > 30
    assert np.abs(mean_offset(example.heatmap[0].numpy(), yx, 3)).max() < 0.05  # on whole pixels
    at = np.round(yx).astype(int)
    assert np.abs(at + example.offset.numpy()[:, at[:, 0], at[:, 1]].T - yx).max() < 1e-4
    # 0.25 px: a centre of mass of the middle of a skewed peak; the glow of 2 px moves columns by 1.1 to 1.4.
    assert np.abs(mean_offset(example.denoised[0].numpy(), yx, 2)).max() < 0.25
