"""Damaged files end in one line, never in another exception, and never in invented pixels."""

from pathlib import Path

import h5py
import hyperspy.api as hs
import numpy as np
import pytest
import tifffile
from PIL import Image

from atomseg.errors import AtomsegError, InputError
from atomseg.io import read_micrograph


def write_png(path: Path, image: np.ndarray) -> None:
    Image.fromarray((image // 16).astype(np.uint8)).save(path)


def write_hspy(path: Path, image: np.ndarray) -> None:
    hs.signals.Signal2D(image).save(path)


def write_plain_tiff(path: Path, image: np.ndarray) -> None:
    tifffile.imwrite(path, image)


def write_packed_tiff(path: Path, image: np.ndarray) -> None:
    tifffile.imwrite(path, image, compression="zlib", rowsperstrip=8)


def write_mrc(path: Path, image: np.ndarray) -> None:
    header = np.zeros(256, "<i4")
    header[:10] = [image.shape[1], image.shape[0], 1, 6, 0, 0, 0, image.shape[1], image.shape[0], 1]
    path.write_bytes(header.tobytes() + image.astype("<u2").tobytes())


WRITERS = {
    "a.png": write_png,
    "a.jpg": write_png,
    "a.hspy": write_hspy,
    "plain.tif": write_plain_tiff,
    "packed.tif": write_packed_tiff,
    "a.mrc": write_mrc,
}


def outcome(path: Path) -> np.ndarray | None:
    """Pixels, or None for a refusal; anything else fails the test."""
    try:
        return read_micrograph(path, pixel_size_nm=0.02).image
    except AtomsegError as exc:
        assert str(exc).startswith(path.name)
        assert "\n" not in str(exc)
        return None


@pytest.mark.parametrize("name", WRITERS)
def test_truncated_anywhere(tmp_path: Path, counts: np.ndarray, name: str) -> None:
    whole, cut = tmp_path / name, tmp_path / f"cut{Path(name).suffix}"
    WRITERS[name](whole, counts)
    data, expected = whole.read_bytes(), read_micrograph(whole, pixel_size_nm=0.02).image
    rng = np.random.default_rng(7)
    for length in [0, 1, 3, 8, 100, 1000, len(data) - 1, *rng.integers(1, len(data), 25)]:
        cut.write_bytes(data[: int(length)])
        got = outcome(cut)
        # What still reads (only bytes after the pixels are gone) must be the very same image.
        assert got is None or np.array_equal(got, expected)
    cut.write_bytes(data[: len(data) // 2])
    assert outcome(cut) is None


@pytest.mark.parametrize("name", WRITERS)
def test_bytes_changed_in_the_header(tmp_path: Path, counts: np.ndarray, name: str) -> None:
    whole, bad = tmp_path / name, tmp_path / f"bad{Path(name).suffix}"
    WRITERS[name](whole, counts)
    data = whole.read_bytes()
    rng = np.random.default_rng(8)
    for _ in range(40):
        changed = bytearray(data)
        for position in rng.integers(0, min(len(data), 600), 4):
            changed[position] = rng.integers(0, 256)
        bad.write_bytes(changed)
        outcome(bad)


@pytest.mark.parametrize("name", ["16_STOimage_1.ser", "PTO100-40nm-HAADF.dm4", "readers/temp.mrc"])
def test_real_files_truncated(shared_data: Path, tmp_path: Path, name: str) -> None:
    data = (shared_data / "real" / name).read_bytes()
    expected = outcome(shared_data / "real" / name)
    cut = tmp_path / f"cut{Path(name).suffix}"
    for length in [10, 500, *np.linspace(2000, len(data) - 1, 12)]:
        cut.write_bytes(data[: int(length)])
        got = outcome(cut)
        assert got is None or (expected is not None and np.array_equal(got, expected))


def test_foreign_hdf5_is_refused(tmp_path: Path) -> None:
    for suffix in (".hspy", ".emd"):
        with h5py.File(tmp_path / f"a{suffix}", "w") as file:
            file["something"] = np.zeros((64, 64))
        with pytest.raises(InputError, match=f"a{suffix}"):
            read_micrograph(tmp_path / f"a{suffix}", pixel_size_nm=0.02)


def test_unreadable_file(tmp_path: Path, counts: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    tifffile.imwrite(tmp_path / "a.tif", counts)

    def denied(self: Path, *args: object, **options: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(InputError, match=r"a\.tif: can not be opened \(Permission denied\)"):
        read_micrograph(tmp_path / "a.tif", pixel_size_nm=0.02)
