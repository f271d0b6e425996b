"""Error bars of the offsets: measured against truth, mapped, and honest afterwards."""

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr

from atomseg.networks import Outputs, map_sigma
from atomseg.train import TrainConfig
from atomseg.train.assess import _errors, _peaks, calibrate_sigma, coverage
from atomseg.train.dataset import make_example
from atomseg.train.targets import TrueColumns, draw_peaks, nearest_offsets

SIDE, SPACING = 480, 8


class Scattered(torch.nn.Module):
    """Stands for a network with offsets off by `sigma` (H, W) that says `claimed` (H, W)."""

    def __init__(self, yx, sigma, claimed, seed):
        super().__init__()
        rng = np.random.default_rng(seed)
        wrong = yx + sigma[:, None] * rng.standard_normal(yx.shape)
        # Offsets to the wrong position, heat map at the true one.
        offset = nearest_offsets(yx, (SIDE, SIDE), 3)[0]
        shift = np.zeros_like(offset)
        row, col = np.rint(yx).astype(int).T
        shift[:, row, col] = (wrong - yx).T
        plane = np.ones((SIDE, SIDE), np.float32)
        plane[row, col] = claimed
        heatmap = torch.logit(torch.from_numpy(draw_peaks(yx, (SIDE, SIDE), 1.3)).clamp(1e-4, 0.99))
        self.answer = Outputs(
            heatmap=heatmap[None, None],
            offset=torch.from_numpy(offset + shift)[None].float(),
            log_sigma=torch.from_numpy(np.log(plane))[None, None],
            restored=torch.zeros(1, 1, SIDE, SIDE),
            crystal=torch.zeros(1, 1, SIDE, SIDE),
        )

    def forward(self, image):
        return self.answer


def scattered(scene_source, seed):
    """Example with 3500 columns, errors of 0.05 to 0.4 px, and a network that claims half to an eighth of them."""
    rng = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*[np.arange(8, SIDE - 8, SPACING)] * 2, indexing="ij"), -1).reshape(-1, 2)
    yx = grid + rng.uniform(-0.3, 0.3, grid.shape)
    sigma = np.exp(rng.uniform(np.log(0.05), np.log(0.4), len(yx)))
    claimed = 0.5 * sigma**1.5
    n = len(yx)
    truth = TrueColumns(
        yx, np.ones(n), np.ones(n, bool), rng.uniform(5, 40, n), np.full(n, 0.05), np.tile(np.eye(2), (n, 1, 1))
    )
    example = make_example(scene_source(rng), TrainConfig(crop_px=64), rng)
    return Scattered(yx, sigma, claimed, seed), [type(example)(**(vars(example) | {"truth": truth}))]


def test_a_network_that_claims_too_much_is_put_right(scene_source):
    """Map from one set of columns, coverage on another; 3500 columns know a share to 0.8 % and bins are wide."""
    network, examples = scattered(scene_source, 0)
    sigma_map = calibrate_sigma(network, examples, 0.5)
    predicted, measured = np.array(sigma_map).T
    assert (np.diff(predicted) > 0).all()
    assert (np.diff(measured) >= 0).all()
    truth = (2 * predicted) ** (1 / 1.5)
    # 400 columns a bin, two quantiles: 4 % each; the ends are medians of wide bins.
    assert np.allclose(measured, truth, rtol=0.15)

    other, others = scattered(scene_source, 1)
    errors = np.concatenate([_errors(e, p) for e, p in _peaks(other, others, 0.5, "cpu")])
    assert len(errors) > 3300
    before, after = coverage(errors, ()), coverage(errors, sigma_map)
    assert before["offset_coverage_90"] < 0.4
    assert after["offset_coverage_68"] == pytest.approx(0.68, abs=0.04)
    assert after["offset_coverage_90"] == pytest.approx(0.90, abs=0.03)


def test_the_map_is_monotone_and_keeps_shape_and_type():
    pairs = ((0.05, 0.1), (0.2, 0.3), (0.8, 0.9))
    sigma = np.geomspace(0.001, 10, 400).astype(np.float32).reshape(20, 20)
    mapped = map_sigma(sigma, pairs)
    assert (mapped.shape, mapped.dtype) == (sigma.shape, sigma.dtype)
    assert spearmanr(sigma.ravel(), mapped.ravel()).statistic == pytest.approx(1)
    assert map_sigma(np.array([p for p, _ in pairs]), pairs) == pytest.approx([m for _, m in pairs])
    assert mapped.ravel()[0] / sigma.ravel()[0] == pytest.approx(2)  # the first factor holds below the first pair
    assert map_sigma(sigma, ()) is sigma


def test_too_few_columns_leave_sigma_as_it_is(scene_source):
    config = TrainConfig(crop_px=64)
    example = make_example(scene_source(np.random.default_rng(0)), config, np.random.default_rng(0))
    truth = example.truth
    n = 10
    few = TrueColumns(*(getattr(truth, name)[:n] for name in vars(truth)))
    yx = np.clip(few.yx_px, 5, 58)
    assert calibrate_sigma(Scattered(yx, np.full(n, 0.1), np.full(n, 0.1), 0), [example], 0.5) == ()
