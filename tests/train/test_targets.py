import numpy as np
import pytest

from atomseg.errors import ConfigError
from atomseg.train.targets import (
    TargetConfig,
    TrueColumns,
    draw_peaks,
    draw_shapes,
    draw_sum,
    draw_targets,
    nearest_offsets,
)


@pytest.fixture
def yx():
    """Columns inside, on a corner, close together and outside the grid."""
    return np.array([[5.3, 7.8], [5.9, 11.6], [0.0, 0.0], [19.6, 23.7], [12.5, 12.5], [-1.0, 15.2], [40.0, 40.0]])


SHAPE = (20, 24)


def true_columns(yx_px, amplitude, required, snr):
    """Columns of 2 px width with bounds of 0.1 px."""
    covariance = np.broadcast_to(4 * np.eye(2), (len(yx_px), 2, 2))
    return TrueColumns(yx_px, amplitude, required, snr, np.full(len(yx_px), 0.1), covariance)


def distances(yx):
    """(N, H, W) distance of every pixel from every column."""
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]]
    return np.hypot(rows - yx[:, 0, None, None], cols - yx[:, 1, None, None])


def test_peaks_are_the_maximum_of_gaussians(yx):
    expected = np.exp(-0.5 * (distances(yx) / 1.3) ** 2).max(axis=0)
    # Gaussians are cut at three standard deviations, where they are 1.1 %.
    assert np.abs(draw_peaks(yx, SHAPE, 1.3) - expected).max() < 0.012


def test_the_sum_is_the_sum_of_gaussians(yx):
    amplitude = np.arange(1.0, 8.0)
    expected = (amplitude[:, None, None] * np.exp(-0.5 * (distances(yx) / 1.4) ** 2)).sum(axis=0)
    assert (
        np.abs(draw_sum(yx, amplitude, SHAPE, 1.4) - expected).max() < 1e-4
    )  # cut at five standard deviations, 4e-6 of a peak of 7


def test_offsets_point_to_the_nearest_column(yx):
    offset, near = nearest_offsets(yx, SHAPE, 2.5)
    d = distances(yx)
    assert np.array_equal(near, d.min(axis=0) <= 2.5)
    rows, cols = np.nonzero(near)
    nearest = yx[d.argmin(axis=0)[near]]
    found = np.stack([rows + offset[0][near], cols + offset[1][near]], axis=1)
    assert np.allclose(found, nearest, atol=1e-5)
    assert not offset[:, ~near].any()


def test_no_columns_at_all():
    nothing = true_columns(np.zeros((0, 2)), np.zeros(0), np.zeros(0, bool), np.zeros(0))
    targets = draw_targets(nothing, np.ones(SHAPE), 0.025, TargetConfig())
    assert not targets.heatmap.any()
    assert not targets.restored.any()
    assert (targets.heatmap_weight == 1).all()
    assert not targets.offset_weight.any()


def test_shapes_are_tilted_ellipses_added_up(yx):
    """Against the formula at every pixel; patches end at 3 sigma of the widest, where 1.1 % of a peak is left."""
    rng = np.random.default_rng(4)
    axes = np.array([[[1.0, 0.4], [0.4, 2.0]]]) * rng.uniform(0.5, 2, (len(yx), 1, 1))
    amplitude = rng.uniform(1, 5, len(yx))
    columns = TrueColumns(yx, amplitude, np.ones(len(yx), bool), np.ones(len(yx)), np.ones(len(yx)), axes)
    rows, cols = np.mgrid[: SHAPE[0], : SHAPE[1]]
    expected = np.zeros(SHAPE)
    for (y, x), a, c in zip(yx, amplitude, axes, strict=True):
        d = np.stack([rows - y, cols - x])
        expected += a * np.exp(-0.5 * np.einsum("ihw,ij,jhw->hw", d, np.linalg.inv(c), d))
    assert np.abs(draw_shapes(columns, SHAPE) - expected).max() < 0.012 * amplitude.sum()
    inner = (distances(yx) < 2).any(axis=0)
    assert np.abs(draw_shapes(columns, SHAPE) - expected)[inner].max() < 0.03 * amplitude.max()


def test_columns_of_unknown_brightness_leave_the_pictures_empty():
    columns = true_columns(np.array([[5.0, 5.0]]), np.array([np.nan]), np.array([True]), np.array([9.0]))
    targets = draw_targets(columns, np.ones(SHAPE), 0.025, TargetConfig())
    assert targets.heatmap[5, 5] == 1
    assert not targets.restored.any()
    assert not targets.columns.any()


def test_dim_columns_weigh_more():
    columns = true_columns(
        np.array([[5.0, 5.0], [5.0, 15.0], [15.0, 5.0]]), np.array([8.0, 3.0, 8.0]), np.ones(3, bool), np.full(3, 9.0)
    )
    weight = draw_targets(columns, np.ones(SHAPE), 0.025, TargetConfig(dim_weight=3.0)).heatmap_weight
    assert (weight[5, 5], weight[5, 15], weight[15, 5]) == (1, 3, 1)


def test_what_may_be_seen_is_ignored_and_what_can_not_be_seen_is_background():
    columns = true_columns(
        yx_px=np.array([[5.0, 5.0], [5.0, 15.0], [15.0, 5.0]]),
        amplitude=np.array([8.0, 4.0, 1.0]),
        required=np.array([True, False, False]),
        snr=np.array([20.0, 3.0, 1.0]),
    )
    scale = np.full(SHAPE, 2.0)
    targets = draw_targets(columns, scale, 0.025, TargetConfig())
    assert targets.heatmap[5, 5] == 1
    assert targets.heatmap[5, 15] == targets.heatmap[15, 5] == 0
    assert targets.heatmap_weight[5, 15] == 0
    assert targets.heatmap_weight[5, 5] == targets.heatmap_weight[15, 5] == 1
    assert (targets.heatmap_weight == 0).sum() == 21  # pixels within 2.5 px of a pixel centre
    # Everything is in the restored image, in units of the local scale.
    assert targets.restored[5, 5] == pytest.approx(4.0)
    assert targets.restored[15, 5] == pytest.approx(0.5)


def test_a_required_column_beside_an_ignored_one_keeps_its_peak():
    columns = true_columns(
        np.array([[8.0, 8.0], [8.0, 11.0]]), np.ones(2), np.array([True, False]), np.array([9.0, 4.0])
    )
    weight = draw_targets(columns, np.ones(SHAPE), 0.025, TargetConfig()).heatmap_weight
    assert weight[8, 6:11].all()
    assert not weight[8, 11:14].any()


@pytest.mark.parametrize("key", ["heatmap_sigma_px", "offset_radius_px", "restored_sigma_nm", "ignore_radius_px"])
def test_settings_out_of_range_name_the_key(key):
    with pytest.raises(ConfigError, match=key):
        TargetConfig(**{key: -1.0})
