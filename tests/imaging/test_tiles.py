import numpy as np
import pytest
from scipy.ndimage import uniform_filter

from atomseg.imaging import tiles


@pytest.mark.parametrize(
    ("shape", "tile", "halo"), [((64, 64), 16, 8), ((50, 33), 16, 0), ((5, 7), 16, 8), ((1, 90), 32, 4)]
)
def test_the_kept_parts_cover_the_grid_once(shape, tile, halo):
    count = np.zeros(shape, int)
    for t in tiles(shape, tile, halo):
        piece = np.arange(count.size).reshape(shape)[t.read]
        assert np.array_equal(piece[t.keep], np.arange(count.size).reshape(shape)[t.write])
        count[t.write] += 1
    assert (count == 1).all()


def test_a_local_operation_gives_the_same_in_tiles():
    image = np.random.default_rng(0).random((70, 81))
    whole = uniform_filter(image, 9, mode="constant")
    out = np.zeros_like(image)
    for t in tiles(image.shape, 16, 4):
        out[t.write] = uniform_filter(image[t.read], 9, mode="constant")[t.keep]
    assert np.allclose(out, whole, atol=1e-12)
    for t in tiles(image.shape, 16, 3):  # a halo that is one too small must show
        out[t.write] = uniform_filter(image[t.read], 9, mode="constant")[t.keep]
    assert not np.allclose(out, whole, atol=1e-6)


@pytest.mark.parametrize(("tile", "halo"), [(0, 1), (4, -1)])
def test_wrong_sizes_are_refused(tile, halo):
    with pytest.raises(ValueError, match="tiles need"):
        list(tiles((8, 8), tile, halo))
