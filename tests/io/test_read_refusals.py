"""What is no atomic-resolution micrograph is refused in one line that says what it is."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from atomseg.errors import CalibrationError, InputError, MissingPixelSizeError
from atomseg.io import read_frames, read_micrograph
from atomseg.io.screen import is_label_map, window_frame


def refusal(source: object, **options: object) -> str:
    with pytest.raises(InputError) as caught:
        read_micrograph(source, **{"pixel_size_nm": 0.02, **options})
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_missing_empty_folder_and_unknown_suffix(tmp_path: Path) -> None:
    assert refusal(tmp_path / "gone.tif") == "gone.tif: no such file"
    (tmp_path / "empty.dm4").touch()
    assert "is empty" in refusal(tmp_path / "empty.dm4")
    assert "is a folder" in refusal(tmp_path)
    (tmp_path / "a.docx").write_bytes(b"PK\x03\x04 whatever")
    assert "suffix '.docx' is not read; by its first bytes it is ZIP; allowed: .dm3 .dm4" in refusal(
        tmp_path / "a.docx"
    )


def test_content_that_is_not_what_the_suffix_says(tmp_path: Path, counts: np.ndarray) -> None:
    Image.fromarray((counts // 16).astype(np.uint8)).save(tmp_path / "a.png")
    for suffix in (".tif", ".dm4", ".hspy", ".mrc", ".jpg"):
        wrong = tmp_path / f"wrong{suffix}"
        wrong.write_bytes((tmp_path / "a.png").read_bytes())
        assert "but its content is PNG" in refusal(wrong)
    (tmp_path / "text.dm3").write_text("a love letter, not a micrograph")
    assert "its content is something else" in refusal(tmp_path / "text.dm3")


@pytest.mark.parametrize(
    ("array", "reason"),
    [
        (np.ones((64, 64), np.float32), "constant"),
        (np.zeros((1, 64), np.float32), "1 x 64 pixels; a micrograph needs at least 32 x 32"),
        (np.random.default_rng(0).random((10, 10)), "10 x 10 pixels"),
        (np.zeros((0, 0)), "no pixels"),
        (np.zeros((64, 64), np.complex64), "complex"),
        (np.zeros((64, 64), bool), "boolean"),
        (np.full((64, 64), "a"), "not numbers"),
        (np.full((64, 64), np.nan), "100% of its pixels are NaN"),
        (np.zeros((2, 3, 64, 64)), "allowed are"),
        (np.zeros(64), "allowed are"),
    ],
)
def test_arrays_that_are_no_micrograph(array: np.ndarray, reason: str) -> None:
    assert reason in refusal(array)


def test_an_unknown_kind_of_source() -> None:
    assert "a dict can not be read" in refusal({})


@pytest.mark.parametrize("size", [-0.02, 0.0, 5.0, float("nan"), float("inf"), (0.02, 9.0), "wide", (0.02, 0.02, 0.02)])
def test_absurd_pixel_sizes(counts: np.ndarray, size: object) -> None:
    with pytest.raises(CalibrationError, match="pixel size"):
        read_micrograph(counts, pixel_size_nm=size)


def test_array_without_pixel_size(counts: np.ndarray) -> None:
    with pytest.raises(MissingPixelSizeError, match=r"--pixel-size-nm \(pixel_size_nm= in Python\)") as caught:
        read_micrograph(counts)
    assert np.array_equal(caught.value.image, counts)


def test_metadata_far_from_atomic_resolution(tmp_path: Path, counts: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "a.tif", counts, imagej=True, resolution=(55.6, 55.6), metadata={"unit": "um"})
    assert "17.99 x 17.99 nm (y, x) by the file's metadata: no atomic" in refusal(
        tmp_path / "a.tif", pixel_size_nm=None
    )
    assert read_micrograph(tmp_path / "a.tif", pixel_size_nm=0.018).calibration.mean_nm == pytest.approx(0.018)


def test_nan_and_infinity_are_filled_and_marked(counts: np.ndarray) -> None:
    image = counts.astype(np.float64)
    image[10, 10], image[20:23, 5:8], image[0, 0], image[30, 30] = np.nan, np.inf, -np.inf, 1e300
    got = read_micrograph(image, pixel_size_nm=0.02)
    bad = ~np.isfinite(image) | (image > 1e40)
    assert np.array_equal(got.invalid, bad)
    assert np.isfinite(got.image).all()
    assert np.array_equal(got.image[~bad], image[~bad].astype(np.float32))
    window = image[8:13, 8:13]
    assert got.image[10, 10] == np.float32(np.median(window[np.isfinite(window)]))
    assert any("12 pixels are NaN or infinite" in text for text in got.warnings)


def test_one_frame_of_bad_pixels_does_not_hide_in_a_mean(counts: np.ndarray) -> None:
    stack = np.stack([counts, counts]).astype(np.float32)
    stack[0, 5, 6] = np.nan
    got = read_micrograph(stack, pixel_size_nm=0.02)
    assert got.invalid is not None
    assert np.argwhere(got.invalid).tolist() == [[5, 6]]


def test_frames_are_named_and_numbered(tmp_path: Path, counts: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "run.tif", np.stack([counts, counts // 2]), imagej=True, metadata={"axes": "TYX"})
    frames = read_frames(tmp_path / "run.tif", pixel_size_nm=0.02)
    assert [(m.name, m.frame, m.n_frames) for m in frames] == [("run_frame000", "0", 2), ("run_frame001", "1", 2)]
    assert np.array_equal(frames[1].image, counts // 2)
    single = read_frames(counts, pixel_size_nm=0.02, name="one")
    assert [(m.name, m.frame) for m in single] == [("one", "single")]


def scene(shape: tuple[int, int] = (200, 240)) -> np.ndarray:
    """8-bit lattice in the lower part, vacuum above."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    lattice = 90 + 60 * np.cos(2 * np.pi * x / 12) * np.cos(2 * np.pi * y / 14)
    lattice[: shape[0] // 3] = 10
    return (lattice + np.random.default_rng(4).normal(0, 8, shape)).clip(0, 255).astype(np.uint8)


def framed(image: np.ndarray) -> np.ndarray:
    """A window around an image: grey border, bright bevel, dark title bar."""
    height, width = image.shape
    window = np.full((height + 30, width + 8), 208, np.uint8)
    window[1, :] = window[:, 1] = 255
    window[:, -2] = window[-2, :] = 64
    window[4:24, 4:-4] = 50
    window[26 : 26 + height, 4 : 4 + width] = image
    return window


def test_screen_grab_is_refused_whatever_it_shows(tmp_path: Path) -> None:
    Image.fromarray(framed(scene())).save(tmp_path / "grab.png")
    assert "screen grab" in refusal(tmp_path / "grab.png")
    noisy = (framed(scene()) + np.random.default_rng(5).normal(0, 2, (230, 248))).clip(0, 255).astype(np.uint8)
    assert "screen grab" in refusal(noisy)  # as after JPEG


@pytest.mark.parametrize("padding", [0, 255])
def test_padding_vacuum_and_clipping_are_no_frames(padding: int) -> None:
    image = scene()
    assert window_frame(image.astype(np.float32)) is None
    assert window_frame(np.pad(image, 6, constant_values=padding).astype(np.float32)) is None
    clipped = image.copy()
    clipped[:70], clipped[:, :40], clipped[:, -40:] = 0, 0, 255
    assert window_frame(clipped.astype(np.float32)) is None
    noise_free = np.full((200, 240), 7, np.float32)
    noise_free[60:140, 60:180] = scene()[60:140, 60:180]
    assert window_frame(noise_free) is None


def test_masks_are_told_from_counted_electrons() -> None:
    mask = np.zeros((128, 128), np.float32)
    mask[40:90, 30:100], mask[60:80, 50:70] = 1, 2
    assert is_label_map(mask)
    sparse = np.random.default_rng(6).poisson(0.05, (128, 128)).astype(np.float32)
    assert not is_label_map(sparse)


def test_real_micrographs_are_not_taken_for_grabs(shared_data: Path) -> None:
    pictures = [*sorted((shared_data / "real").glob("*.png")), shared_data / "real" / "SrTiO3.jpg"]
    pictures.append(shared_data / "real" / "CdTe_Training_Image.tif")
    for path in pictures:
        assert read_micrograph(path, pixel_size_nm=0.02).shape[0] >= 256
    assert "screen grab" in refusal(shared_data / "real" / "tem.tif")
