import numpy as np
import pytest
import torch

from atomseg.train import TrainConfig
from atomseg.train.dataset import (
    TRAINING,
    VALIDATION,
    SceneStream,
    example_generator,
    make_example,
    turn,
    turn_covariances,
    turn_points,
    validation_examples,
)


@pytest.fixture
def config():
    return TrainConfig(crop_px=64, batch_size=2, validation_scenes=3, workers=0)


def take(stream, n):
    iterator = iter(stream)
    return [next(iterator)["image"] for _ in range(n)]


def test_batches_depend_on_their_number_only(scene_source, config):
    stream = SceneStream(scene_source, config)
    first = take(stream, 4)
    assert all(torch.equal(a, b) for a, b in zip(first, take(stream, 4), strict=True))
    resumed = take(SceneStream(scene_source, config, first_batch=2), 2)
    assert all(torch.equal(a, b) for a, b in zip(first[2:], resumed, strict=True))
    ranks = [take(SceneStream(scene_source, config, rank=r, world_size=2), 2) for r in (0, 1)]
    assert all(
        torch.equal(a, b) for a, b in zip(first, (ranks[0][0], ranks[1][0], ranks[0][1], ranks[1][1]), strict=True)
    )
    assert not torch.equal(first[0], first[1])


# Torch warns of two workers where there is one processor.
@pytest.mark.filterwarnings("ignore:This DataLoader will create")
def test_workers_do_not_change_the_batches(scene_source, config):
    alone = take(SceneStream(scene_source, config), 4)
    loader = torch.utils.data.DataLoader(
        SceneStream(scene_source, config), batch_size=None, num_workers=2, multiprocessing_context="fork"
    )
    iterator = iter(loader)
    together = [next(iterator)["image"] for _ in range(4)]
    del iterator
    assert all(torch.equal(a, b) for a, b in zip(alone, together, strict=True))


def test_splits_and_seeds_have_scenes_of_their_own():
    draws = {
        example_generator(s, split, k).random() for s in (1, 2) for split in (TRAINING, VALIDATION) for k in (0, 1)
    }
    assert len(draws) == 8


def test_validation_scenes_are_fixed(scene_source, config):
    one, other = validation_examples(scene_source, config), validation_examples(scene_source, config)
    assert len(one) == 3
    assert all(torch.equal(a.image, b.image) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_points_turn_with_the_image(turns, flip):
    image = np.zeros((9, 9))
    image[2, 7] = 1
    turned = turn(image, turns, flip=flip)
    assert turn_points(np.array([[2, 7]]), 9, turns, flip=flip).tolist() == [list(p) for p in np.argwhere(turned)]


@pytest.mark.parametrize("pixel_nm", [0.015, 0.025, 0.04])
def test_targets_sit_on_the_columns_of_the_image(scene_source, config, pixel_nm):
    """The image, averaged over the true columns, peaks where the heat map does, to a fraction of a pixel."""
    scene = scene_source(np.random.default_rng(2), side=int(72 * 0.025 / pixel_nm) + 2, pixel_nm=pixel_nm)
    for index in range(4):
        example = make_example(scene, config, np.random.default_rng(index))
        columns = example.truth
        inner = columns.required & ((columns.yx_px > 6) & (columns.yx_px < 57)).all(axis=1)
        image = example.image[0].numpy().astype(float)
        image -= image.min()
        error = []
        for y, x in columns.yx_px[inner & (columns.amplitude > 50)]:
            row, col = round(y), round(x)
            patch = image[row - 3 : row + 4, col - 3 : col + 4] ** 2
            step = np.arange(-3, 4)
            mass = patch.sum()
            error.append((row + (patch.sum(1) * step).sum() / mass - y, col + (patch.sum(0) * step).sum() / mass - x))
        # A few dozen columns of 0.3 px scatter each: the mean is good to 0.1 px; half a pixel of shift must show.
        assert np.abs(np.mean(error, axis=0)).max() < 0.2


@pytest.mark.parametrize("index", range(3))
def test_clean_targets_are_the_image_without_noise(scene_source, config, index):
    """Their difference from the image is Poisson noise: no offset, no trace of the columns."""
    scene = scene_source(np.random.default_rng(5))
    example = make_example(scene, config, np.random.default_rng(index))
    noise = (example.image - example.denoised)[0].numpy()
    # Half of the image holds columns of a few tens of counts: 4000 pixels of unit contrast or less scatter by 0.02.
    assert abs(noise.mean()) < 0.05
    clean = example.denoised[0].numpy()
    assert abs(np.corrcoef(noise.ravel(), clean.ravel())[0, 1]) < 0.05
    assert np.std(noise) < 0.7 * np.std(example.image.numpy())
    # Columns at their own width are the clean image but for the background, which the local mean takes away.
    crystal = example.crystal[0].numpy() > 0.5
    assert np.corrcoef(example.columns[0].numpy()[crystal], clean[crystal])[0, 1] > 0.95


@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
def test_shapes_turn_with_the_image(turns, flip):
    """Second moments of a turned picture of one elliptical column."""
    covariance = np.array([[[4.0, 1.5], [1.5, 9.0]]])
    rows, cols = np.mgrid[-15:16, -15:16]
    d = np.stack([rows, cols])
    picture = turn(np.exp(-0.5 * np.einsum("ihw,ij,jhw->hw", d, np.linalg.inv(covariance[0]), d)), turns, flip=flip)
    moments = np.einsum("ihw,jhw,hw->ij", d, d, picture) / picture.sum()
    # The picture ends at 5 sigma; sums over pixels of a smooth function are nearly exact.
    assert np.allclose(turn_covariances(covariance, turns, flip=flip)[0], moments, atol=0.05)


def test_a_scene_that_is_too_small_is_refused(scene_source, config):
    with pytest.raises(ValueError, match="smaller than the crop"):
        make_example(scene_source(np.random.default_rng(0), side=40), config, np.random.default_rng(0))
