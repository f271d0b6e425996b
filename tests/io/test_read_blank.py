"""Borders that alignment leaves, and what is drawn on an image, are not seen; vacuum clipped to one number is."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_dilation, gaussian_filter, rotate

from atomseg.io import read_micrograph
from atomseg.io.blank import find_blank

PIXEL_NM = 0.02
SHAPE = (300, 320)
OFFSET = 500.0


def crystal(dark: float = 100.0, *, edge_px: float = 0.0, counts: float = 400.0, seed: int = 0) -> np.ndarray:
    """(H, W) counts of a crystal of columns 0.25 nm apart, right of an edge that runs a little oblique."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    # Columns of 0.1 nm; the lattice is turned by a tenth so that no border runs along its rows.
    u, v = (x + 0.1 * y) * PIXEL_NM / 0.25, (y - 0.1 * x) * PIXEL_NM / 0.25
    light = np.exp(-(((u - np.rint(u)) * 0.25) ** 2 + ((v - np.rint(v)) * 0.25) ** 2) / (2 * 0.0425**2))
    # A column is in the crystal or not, as a whole.
    light *= (np.rint(u) - 0.1 * np.rint(v)) * 0.25 / PIXEL_NM / 1.01 > edge_px
    return np.random.default_rng(seed).poisson(dark + counts * light).astype(np.float32)


def strips(image: np.ndarray, value: float) -> tuple[np.ndarray, np.ndarray]:
    blank = np.zeros(image.shape, dtype=bool)
    blank[:30], blank[:, -20:] = True, True
    return np.where(blank, value, image), blank


def wedge(image: np.ndarray, value: float) -> tuple[np.ndarray, np.ndarray]:
    row, col = np.mgrid[: image.shape[0], : image.shape[1]]
    blank = col < 40 * row / image.shape[0]
    return np.where(blank, value, image), blank


def frame(image: np.ndarray, value: float) -> tuple[np.ndarray, np.ndarray]:
    blank = np.ones(image.shape, dtype=bool)
    blank[25:-25, 30:-15] = False
    return np.where(blank, value, image), blank


def turned(image: np.ndarray, value: float) -> tuple[np.ndarray, np.ndarray]:
    valid = rotate(np.ones(image.shape), 12, reshape=False, order=1, cval=0.0)
    return rotate(image, 12, reshape=False, order=1, cval=value), valid < 0.5


@pytest.mark.parametrize("border", [strips, wedge, frame, turned])
@pytest.mark.parametrize("value", ["zero of raw counts", "darkest", "mean"])
def test_blank_borders_are_found(border: Callable[..., tuple[np.ndarray, np.ndarray]], value: str) -> None:
    image = OFFSET + crystal() if value == "zero of raw counts" else crystal()
    level = {"zero of raw counts": 0.0, "darkest": float(image.min()), "mean": float(image.mean())}[value]
    padded, blank = border(image, level)
    found = find_blank(padded.astype(np.float32))
    # A pixel or two of the oblique outline are a matter of rounding, and narrow ends of wedges are no boxes.
    assert (found & ~blank).sum() <= 0.02 * blank.sum()
    assert (blank & ~found).sum() <= 0.04 * blank.sum()


def test_lines_shifted_one_by_one_leave_a_blank_border() -> None:
    image = OFFSET + crystal()
    shift = np.cumsum(np.random.default_rng(1).normal(0.0, 0.7, SHAPE[0]))
    blank = np.arange(SHAPE[1]) < (10 + shift - shift.min())[:, None]
    found = find_blank(np.where(blank, 0.0, image).astype(np.float32))
    assert not (found & ~blank).any()
    assert (blank & ~found).sum() < 0.2 * blank.sum()  # teeth narrower than a box


def exported(image: np.ndarray) -> np.ndarray:
    """Stretched to eight bits, as a program shows it."""
    low, high = np.percentile(image, [0.1, 99.9])
    return np.clip(255 * (image - low) / (high - low), 0, 255).astype(np.uint8)


def lettered(image: np.ndarray, bar: tuple[int, int, int, int], value: int) -> np.ndarray:
    """A scale bar (left, top, right, bottom) with its length above it."""
    picture = Image.fromarray(image)
    draw = ImageDraw.Draw(picture)
    draw.rectangle(bar, fill=value)
    # Strokes of four pixels and more.
    draw.text((bar[0], bar[1] - 44), "2 nm", fill=value, font=ImageFont.load_default(size=40), stroke_width=1)
    return np.array(picture)


@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("height_px", [6, 12])
def test_a_scale_bar_and_its_lettering_are_blank(value: int, height_px: int) -> None:
    image = exported(crystal())
    marked = lettered(image, (40, 250, 139, 250 + height_px - 1), value)
    found, drawn = find_blank(marked.astype(np.float32)), marked != image
    # Letters have two pixels of smooth outline.
    assert not (found & ~binary_dilation(drawn, iterations=4)).any()
    assert found[250 : 250 + height_px, 40:140].all()
    assert (drawn & ~found).sum() < 0.1 * drawn.sum()


@pytest.mark.parametrize("ground", [0, 255])
@pytest.mark.parametrize("at_border", [True, False])
def test_a_box_and_a_bar_of_data_are_blank_with_their_lettering(ground: int, at_border: bool) -> None:
    image = exported(crystal())
    box = (slice(210, None), slice(None)) if at_border else (slice(200, 290), slice(20, 200))
    image[box] = ground
    marked = lettered(image, (40, 270, 139, 277), 255 - ground)
    found = find_blank(marked.astype(np.float32))
    assert found[box].all()
    found[box] = False
    assert found.sum() <= 20  # clipped pixels that touch it


def test_a_bar_of_data_below_vacuum_is_blank() -> None:
    image = crystal()
    image[120:] = np.random.default_rng(3).poisson(100.0, image[120:].shape)
    image = exported(image)
    image[210:] = 0
    found = find_blank(lettered(image, (40, 270, 139, 277), 255).astype(np.float32))
    assert found[210:].all()
    assert found[:210].sum() <= 20  # clipped pixels that touch it


def as_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=quality)
    return np.array(Image.open(file)).astype(np.float32)


@pytest.mark.parametrize("quality", [50, 75, 95])
@pytest.mark.parametrize("drawn_on", ["image", "black box", "white box", "data bar"])
def test_what_was_drawn_is_found_in_a_jpeg(drawn_on: str, quality: int) -> None:
    image = exported(crystal(edge_px=90.0))
    boxes = {"image": None, "data bar": (slice(210, None), slice(None))}
    box, ink = boxes.get(drawn_on, (slice(200, 290), slice(110, 280))), 0 if drawn_on == "white box" else 255
    if box is not None:
        image[box] = 255 - ink
    bar = (130, 270, 249, 279)
    found = find_blank(as_jpeg(lettered(image, bar, ink), quality), lossy=True)
    drawn = np.zeros(SHAPE, dtype=bool)
    drawn[box if box is not None else (slice(bar[1], bar[3] + 1), slice(bar[0], bar[2] + 1))] = True
    assert found[drawn].mean() > 0.99
    # Its waves reach a few pixels further, a saturated column can touch it; letters on the image are more.
    beyond = found & ~binary_dilation(drawn, np.ones((3, 3)), iterations=6)
    assert beyond.sum() <= (3000 if box is None else 60)


@pytest.mark.parametrize("quality", [50, 75, 95])
@pytest.mark.parametrize("percent", [1, 5, 15, 30])
def test_clipped_vacuum_and_crystal_are_not_blank_in_a_jpeg(percent: float, quality: int) -> None:
    image = crystal(20.0, edge_px=110.0)
    for low, high in ((percent, 100), (0, 100 - percent), (percent, 100 - percent)):
        least, most = np.percentile(image, [low, high])
        stretched = np.round(255 * np.clip((image - least) / (most - least), 0, 1)).astype(np.uint8)
        assert not find_blank(as_jpeg(stretched, quality), lossy=True).any()
        assert not find_blank(stretched.astype(np.float32), lossy=True).any()


@pytest.mark.parametrize("blur_px", [0.0, 0.7, 1.5])
@pytest.mark.parametrize("percent", [5, 15, 25, 35])
@pytest.mark.parametrize("bits", [8, 32])
def test_clipped_vacuum_and_crystal_are_not_blank(blur_px: float, percent: float, bits: int) -> None:
    image = gaussian_filter(crystal(20.0, edge_px=110.0), blur_px)
    for low, high in ((percent, 100), (0, 100 - percent)):
        clipped = np.clip(image, *np.percentile(image, [low, high]))
        if bits == 8:
            clipped = np.round(255 * (clipped - clipped.min()) / np.ptp(clipped))
        assert not find_blank(clipped.astype(np.float32)).any()


@pytest.mark.parametrize("times", [2, 5, 8, 20])
def test_enlarged_pixels_are_not_blank(times: int) -> None:
    assert not find_blank(np.kron(crystal()[:100, :100], np.ones((times, times), np.float32))).any()


@pytest.mark.parametrize("counts", [0.02, 0.3, 3.0])
def test_vacuum_without_a_count_is_not_blank(counts: float) -> None:
    assert not find_blank(crystal(0.0, edge_px=110.0, counts=counts)).any()


def test_a_blank_border_is_told_and_marked() -> None:
    padded, blank = strips(crystal(), 0.0)
    got = read_micrograph(padded, pixel_size_nm=PIXEL_NM)
    assert np.array_equal(got.invalid, blank)
    assert any(f"{blank.sum()} pixels are blank" in text for text in got.warnings)
    # Neither dark nor bright: nothing that is looked at as an image sees an edge of its range there.
    assert got.image[blank].min() > got.image[~blank].min()
    assert got.image[blank].max() < got.image[~blank].max()


def test_a_bar_on_a_picture_is_marked() -> None:
    marked = as_jpeg(lettered(exported(crystal()), (40, 250, 139, 259), 255), 75).astype(np.uint8)
    got = read_micrograph(marked, pixel_size_nm=PIXEL_NM)
    assert got.invalid is not None
    assert got.invalid[250:260, 40:140].all()


def test_counts_of_eight_bits_are_no_picture() -> None:
    """Vacuum of single counts, which a picture may have as specks of nothing."""
    counts = crystal(0.01, edge_px=200.0, counts=10.0, seed=4).astype(np.uint8)
    assert find_blank(counts.astype(np.float32), lossy=True).any()
    assert read_micrograph(counts, pixel_size_nm=PIXEL_NM).invalid is None


# JPEG keeps colours at half the resolution, in blocks of 16 pixels.
@pytest.mark.parametrize(("kind", "reach_px"), [("PNG", 2), ("JPEG", 16)])
def test_coloured_annotations_are_not_seen(tmp_path: Path, kind: str, reach_px: int) -> None:
    """Lines and letters too thin to be an area of one number."""
    image = exported(crystal())
    picture = Image.fromarray(np.stack([image] * 3, axis=-1))
    ImageDraw.Draw(picture).line((20, 30, 200, 90), fill=(255, 200, 0), width=2)
    drawn = (np.array(picture) != image[..., None]).any(axis=-1)
    path = tmp_path / f"figure.{kind.lower()}"
    picture.save(path, kind, quality=90)
    got = read_micrograph(path, pixel_size_nm=PIXEL_NM)
    assert got.invalid is not None
    assert got.invalid[drawn].all()
    assert not (got.invalid & ~binary_dilation(drawn, np.ones((3, 3)), iterations=reach_px)).any()
    assert any("coloured (annotations)" in text for text in got.warnings)
