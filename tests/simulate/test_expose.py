"""Exposures of many scenes at once, against one by one and against a direct sum."""

import numpy as np
import pytest
import torch

from atomseg.simulate import SceneConfig
from atomseg.simulate.expose import expected_counts, expose
from atomseg.simulate.scene import draw_exposure


@pytest.fixture(scope="module")
def exposures():
    """Scenes of different shapes, one of them with nothing in it, one with jumps."""
    drawn = [
        draw_exposure(SceneConfig(shape=shape), np.random.default_rng(seed))[1]
        for seed, shape in ((6, (112, 144)), (1, (60, 40)), (2, (300, 90)))
    ]
    empty = SceneConfig(shape=(50, 70), p_cathode=0.0, p_other=0.0, p_nothing=1.0)
    return [*drawn, draw_exposure(empty, np.random.default_rng(3))[1]]


def test_an_image_does_not_depend_on_its_batch(exposures):
    together = expose(exposures)
    for exposure, exposed in zip(exposures, together, strict=True):
        alone = expose([exposure])[0]
        assert torch.equal(alone.image, exposed.image)
        assert torch.equal(alone.expected, exposed.expected)
        assert alone.tone == exposed.tone


def test_one_by_one_and_all_at_once_agree(exposures):
    together = expected_counts(exposures, "cpu", tiled=False)
    for exposure, counts in zip(exposures, together, strict=True):
        alone = expected_counts([exposure], "cpu")[0]
        assert counts.shape == exposure.imaging.scan.shape
        # Tiles leave out what lies beyond 4.2 standard deviations, 1.5e-4 of a peak; a few rims can add up.
        largest = float(max(exposure.peak.max(initial=0.0), alone.max()))
        assert (counts - alone).abs().max() < 1e-3 * largest


def test_expected_counts_are_the_direct_sum_of_cores_tails_and_background(exposures):
    exposure = exposures[0]
    imaging, scan = exposure.imaging, exposure.imaging.scan
    assert scan.jump_rows  # background, tails and cores all have to jump
    rows, cols = np.arange(scan.shape[0]), np.arange(scan.shape[1])
    lines = scan.lines_px()
    jumps = scan.jumps_px[np.searchsorted(scan.jump_rows, rows, side="right")]
    expected = np.zeros(scan.shape)
    size = np.asarray(scan.pixel_size_nm)
    tail = (imaging.profile.tail_nm / size) ** 2
    for yx, peak, far in zip(exposure.yx_px, exposure.peak, exposure.tail, strict=True):
        y = (rows + lines[:, 0] - yx[0])[:, None] + 0 * cols
        x = cols + lines[:, 1:] - yx[1]
        inverse = np.linalg.inv(imaging.covariance_px)
        expected += peak * np.exp(-0.5 * (inverse[0, 0] * y**2 + 2 * inverse[0, 1] * y * x + inverse[1, 1] * x**2))
        y, x = (rows + jumps[:, 0] - yx[0])[:, None], cols + jumps[:, 1:] - yx[1]
        expected += far * np.exp(-0.5 * (y**2 / tail[0] + x**2 / tail[1]))
    ground = exposure.ground
    y_nm = (rows + jumps[:, 0] - (scan.shape[0] - 1) / 2) * size[0]
    for row in range(scan.shape[0]):
        x_nm = (cols + jumps[row, 1] - (scan.shape[1] - 1) / 2) * size[1]
        nodes = [
            origin + ground.step_nm * np.arange(n)
            for origin, n in zip(ground.origin_nm, ground.nodes.shape, strict=True)
        ]
        along = np.array([np.interp(x_nm, nodes[1], line) for line in ground.nodes])
        expected[row] += imaging.peak_counts * np.array([np.interp(y_nm[row], nodes[0], a) for a in along.T])
    expected *= imaging.detector.line_gain(rows, len(rows))[:, None]
    counts = expected_counts([exposure], "cpu")[0].numpy()
    # Tails are interpolated from nodes a quarter of their width apart: 0.8 % of their height. Cores as above.
    bound = 1e-3 * exposure.peak.max() + 0.01 * exposure.tail.max() * 3
    assert np.abs(counts - expected).max() < bound
