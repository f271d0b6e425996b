import numpy as np
import pytest
import torch
from scipy.ndimage import distance_transform_edt

from atomseg.networks import Outputs
from atomseg.train import TrainConfig
from atomseg.train.assess import choose_threshold
from atomseg.train.dataset import make_example
from atomseg.train.metrics import Counts, count_matches, find_peaks
from atomseg.train.targets import draw_peaks, nearest_offsets


def test_peaks_of_a_perfect_heat_map_are_the_columns():
    rng = np.random.default_rng(0)
    grid = np.stack(np.meshgrid(np.arange(6, 90, 6.0), np.arange(6, 70, 6.0), indexing="ij"), axis=-1).reshape(-1, 2)
    yx = grid + rng.uniform(-0.5, 0.5, grid.shape)
    heatmap = torch.from_numpy(draw_peaks(yx, (96, 76), 1.3))
    offset = torch.from_numpy(nearest_offsets(yx, (96, 76), 2.5)[0])
    peaks = find_peaks(heatmap, offset, 0.5, 0.025)
    assert len(peaks) == len(yx)
    counts, invented = count_matches(peaks[:, :2] * 0.025, yx * 0.025, np.ones(len(yx), bool), np.full(len(yx), 1e-3))
    assert counts.rates()["f1"] == 1
    assert counts.rates()["rmse_pm"] < 1e-3  # offsets are exact to float32
    assert not invented.any()


def test_two_peaks_of_one_column_are_merged_and_the_surer_one_is_kept():
    heatmap = torch.zeros(20, 20)
    heatmap[10, 10], heatmap[10, 12], heatmap[3, 3] = 0.9, 0.8, 0.7
    peaks = find_peaks(heatmap, torch.zeros(2, 20, 20), 0.5, 0.025)
    assert peaks[:, :2].tolist() == [[10, 10], [3, 3]]
    assert find_peaks(heatmap, torch.zeros(2, 20, 20), 0.95, 0.025).shape == (0, 4)


def test_matches_equal_a_brute_force_assignment():
    """Truth at least 0.12 nm apart: a peak within 50 pm of truth can belong to that column only."""
    rng = np.random.default_rng(1)
    grid = np.stack(np.meshgrid(np.arange(0, 3, 0.2), np.arange(0, 3, 0.2), indexing="ij"), axis=-1).reshape(-1, 2)
    truth = grid + rng.uniform(-0.04, 0.04, grid.shape)
    found = np.concatenate([truth[rng.random(len(truth)) < 0.8], rng.uniform(0, 3, (20, 2))])
    found = found + rng.normal(0, 0.015, found.shape)
    required = rng.random(len(truth)) < 0.9
    distance = np.linalg.norm(found[:, None] - truth[None], axis=-1)
    taken = np.array([d.min() <= 0.05 for d in distance.T])
    counts, invented = count_matches(found, truth, required, np.full(len(truth), 2e-3))
    assert counts.found == (taken & required).sum()
    assert counts.missed == (~taken & required).sum()
    assert counts.invented == len(found) - taken.sum() == invented.sum()
    assert counts.bound2_nm2 == pytest.approx(4e-6 * counts.found)
    assert counts.error2_nm2 == pytest.approx((distance.min(axis=0)[taken & required] ** 2).sum())


def test_no_peaks_and_no_columns():
    nothing, two = np.zeros((0, 2)), np.array([[0.0, 0.0], [1.0, 1.0]])
    assert count_matches(nothing, two, np.array([True, False]), np.ones(2))[0] == Counts(missed=1)
    assert count_matches(two, nothing, np.zeros(0, bool), np.zeros(0))[0] == Counts(invented=2)
    assert Counts().rates()["f1"] == 0


def test_counts_add_up():
    a = Counts(
        found=3, missed=1, invented=1, error2_nm2=3e-4, bound2_nm2=0.75e-4, empty_area_nm2=50.0, invented_in_empty=1
    )
    rates = (a + a).rates()
    assert rates == pytest.approx(
        {"precision": 0.75, "recall": 0.75, "f1": 0.75, "rmse_pm": 10.0, "rmse_over_crlb": 2.0, "false_per_100nm2": 2.0}
    )


def test_the_threshold_keeps_inventions_outside_crystal_rare(scene_source):
    """A heat map with a column of 0.6 in vacuum: a lower threshold finds more columns but may not be chosen."""
    config = TrainConfig(crop_px=64)
    example = make_example(scene_source(np.random.default_rng(3)), config, np.random.default_rng(0))
    logits = torch.logit((example.heatmap * 0.5).clamp(1e-4, 0.99))
    rows, cols = np.nonzero(example.crystal[0].numpy() == 0)
    furthest = np.argmax(distance_transform_edt(example.crystal[0].numpy() == 0)[rows, cols])
    logits[0, rows[furthest], cols[furthest]] = torch.logit(torch.tensor(0.6))
    threshold, rates = choose_threshold(fixed_answer(logits, example.offset), [example])
    assert threshold > 0.6
    assert rates["false_per_100nm2"] == 0
    assert rates["recall"] == 0  # all columns are at 0.5 here


def fixed_answer(logits, offset):
    """Stands for a network that gives these outputs for any image."""

    class Fixed(torch.nn.Module):
        def forward(self, image):
            zeros = torch.zeros_like(logits)[None]
            return Outputs(heatmap=logits[None], offset=offset[None], log_sigma=zeros, restored=zeros, crystal=zeros)

    return Fixed()
