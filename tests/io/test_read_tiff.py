"""TIFF in the flavours that microscopes, ImageJ and scripts write."""

import struct
from pathlib import Path

import numpy as np
import pytest
import tifffile

from atomseg.errors import InputError, MissingPixelSizeError
from atomseg.io import read_micrograph
from atomseg.types import CalibrationOrigin

# Rational resolution tags have 32-bit terms: relative error far below 1e-6.
SCALE_RTOL = 1e-6


def imagej(path: Path, image: np.ndarray, unit: str, per_unit: tuple[float, float]) -> Path:
    """ImageJ file with (x, y) densities."""
    tifffile.imwrite(path, image, imagej=True, resolution=per_unit, metadata={"unit": unit})
    return path


@pytest.mark.parametrize(
    ("unit", "nm"),
    [("nm", 1.0), ("\\u00B5m", 1e3), ("micron", 1e3), ("um", 1e3), ("\\u00C5", 0.1), ("pm", 1e-3), ("mm", 1e6)],
)
def test_imagej_units_become_nm(tmp_path: Path, counts: np.ndarray, unit: str, nm: float) -> None:
    path = imagej(tmp_path / "a.tif", counts, unit, (nm / 0.011, nm / 0.012))
    got = read_micrograph(path)
    assert got.calibration.origin is CalibrationOrigin.METADATA
    assert got.calibration.pixel_size_nm == pytest.approx((0.012, 0.011), rel=SCALE_RTOL)
    assert np.array_equal(got.image, counts)
    assert (got.name, got.frame, got.n_frames, got.warnings) == ("a", "single", 1, ())


@pytest.mark.parametrize(("unit", "value"), [("nm", 0.013), ("µm", 1.3e-5), ("Å", 0.13), ("pm", 13.0), (None, 1.3e-5)])
def test_ome_physical_size_with_its_unit_or_the_default_of_the_schema(
    tmp_path: Path, counts: np.ndarray, unit: str | None, value: float
) -> None:
    metadata = {"axes": "YX", "PhysicalSizeX": value, "PhysicalSizeY": 2 * value}
    if unit is not None:
        metadata |= {"PhysicalSizeXUnit": unit, "PhysicalSizeYUnit": unit}
    tifffile.imwrite(tmp_path / "a.ome.tif", counts, ome=True, metadata=metadata)
    got = read_micrograph(tmp_path / "a.ome.tif")
    assert got.calibration.pixel_size_nm == pytest.approx((0.026, 0.013), rel=1e-9)
    assert got.metadata["pixel_size_from"] == "OME"


@pytest.mark.parametrize(("unit", "nm"), [("CENTIMETER", 1e7), ("INCH", 2.54e7)])
def test_baseline_resolution_counts_when_it_is_atomic(tmp_path: Path, counts: np.ndarray, unit: str, nm: float) -> None:
    tifffile.imwrite(tmp_path / "a.tif", counts, resolution=(nm / 0.02, nm / 0.03), resolutionunit=unit)
    got = read_micrograph(tmp_path / "a.tif")
    # Densities of 1e9 and more leave the rational tag few digits for the fraction.
    assert got.calibration.pixel_size_nm == pytest.approx((0.03, 0.02), rel=1e-6)


@pytest.mark.parametrize("dpi", [72, 96, 300])
def test_print_resolution_is_no_pixel_size(tmp_path: Path, counts: np.ndarray, dpi: int) -> None:
    tifffile.imwrite(tmp_path / "a.tif", counts, resolution=(dpi, dpi), resolutionunit="INCH")
    with pytest.raises(
        MissingPixelSizeError, match=rf"a\.tif: pixel size missing.*{dpi} dpi.*--pixel-size-nm"
    ) as caught:
        read_micrograph(tmp_path / "a.tif")
    assert caught.value.image.dtype == np.float32
    assert np.array_equal(caught.value.image, counts)
    got = read_micrograph(tmp_path / "a.tif", pixel_size_nm=0.02)
    assert got.calibration.origin is CalibrationOrigin.USER
    assert any(f"{dpi} dpi" in text for text in got.warnings)


def test_gatan_and_fei_records(tmp_path: Path, counts: np.ndarray) -> None:
    tags = [
        (65003, "s", 0, "nm", True),
        (65004, "s", 0, "nm", True),
        (65009, "d", 1, 0.011, True),
        (65010, "d", 1, 0.012, True),
    ]
    tifffile.imwrite(tmp_path / "gatan.tif", counts, extratags=tags, metadata=None)
    assert read_micrograph(tmp_path / "gatan.tif").calibration.pixel_size_nm == pytest.approx((0.012, 0.011))
    text = "[User]\r\nUser=x\r\n[Scan]\r\nPixelWidth=1.1e-11\r\nPixelHeight=1.2e-11\r\n"
    tifffile.imwrite(tmp_path / "fei.tif", counts, extratags=[(34682, "s", 0, text, True)], metadata=None)
    assert read_micrograph(tmp_path / "fei.tif").calibration.pixel_size_nm == pytest.approx((0.012, 0.011))


@pytest.mark.parametrize("dtype", ["u1", "<u2", ">u2", "<i2", ">i2", "<u4", "<i4", "<f2", "<f4", ">f4", "<f8"])
def test_pixel_types_and_byte_orders(tmp_path: Path, counts: np.ndarray, dtype: str) -> None:
    image = (counts // 16 - (30 if np.dtype(dtype).kind in "if" else 0)).astype(np.int64) % (2**15)
    image = image.astype(dtype) if np.dtype(dtype).kind != "u" else (counts // 16).astype(dtype)
    order = ">" if dtype.startswith(">") else "<"
    tifffile.imwrite(tmp_path / "a.tif", image, byteorder=order)
    assert np.array_equal(read_micrograph(tmp_path / "a.tif", pixel_size_nm=0.02).image, image.astype(np.float32))


@pytest.mark.parametrize("compression", ["lzw", "zlib", "zstd", "packbits"])
@pytest.mark.parametrize("tiled", [False, True])
def test_compressed(tmp_path: Path, counts: np.ndarray, compression: str, tiled: bool) -> None:
    tile = (16, 16) if tiled else None
    tifffile.imwrite(tmp_path / "a.tif", counts, compression=compression, tile=tile)
    assert np.array_equal(read_micrograph(tmp_path / "a.tif", pixel_size_nm=0.02).image, counts)


def test_bigtiff(tmp_path: Path, counts: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "a.tif", counts, bigtiff=True)
    assert np.array_equal(read_micrograph(tmp_path / "a.tif", pixel_size_nm=0.02).image, counts)


def test_white_is_zero_is_turned_over(tmp_path: Path, counts: np.ndarray) -> None:
    image = (counts // 16).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", image, photometric="miniswhite")
    got = read_micrograph(tmp_path / "a.tif", pixel_size_nm=0.02)
    assert np.array_equal(got.image, 255 - image.astype(np.float32))
    assert any("inverted" in text for text in got.warnings)


def test_grey_palettes_are_looked_up(tmp_path: Path, counts: np.ndarray) -> None:
    image = (counts // 16).astype(np.uint8)
    ramp = np.arange(256, dtype=np.uint16) * 257
    tifffile.imwrite(tmp_path / "up.tif", image, photometric="palette", colormap=np.stack([ramp] * 3))
    tifffile.imwrite(tmp_path / "down.tif", image, photometric="palette", colormap=np.stack([ramp[::-1]] * 3))
    up, down = (read_micrograph(tmp_path / f"{name}.tif", pixel_size_nm=0.02).image for name in ("up", "down"))
    assert np.array_equal(up, image)
    assert np.array_equal(down, 255 - image.astype(np.float32))


def test_coloured_palette_is_refused(tmp_path: Path, counts: np.ndarray) -> None:
    table = np.random.default_rng(0).integers(0, 65536, (3, 256), dtype=np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", (counts // 16).astype(np.uint8), photometric="palette", colormap=table)
    with pytest.raises(InputError, match="colour image"):
        read_micrograph(tmp_path / "a.tif", pixel_size_nm=0.02)


def test_stack_is_averaged_or_one_frame_taken(tmp_path: Path, counts: np.ndarray) -> None:
    stack = np.stack([counts, counts // 2, counts // 3])
    tifffile.imwrite(
        tmp_path / "a.tif", stack, imagej=True, resolution=(50, 50), metadata={"unit": "nm", "axes": "TYX"}
    )
    mean = read_micrograph(tmp_path / "a.tif")
    assert (mean.frame, mean.n_frames) == ("mean", 3)
    # Means of integers below 4000, rounded once to float32: half a unit in the last place is 1.2e-4.
    assert np.allclose(mean.image, stack.mean(axis=0), rtol=0, atol=1.3e-4)
    assert any("3 frames were averaged" in text for text in mean.warnings)
    second = read_micrograph(tmp_path / "a.tif", frame="1")
    assert second.frame == "1"
    assert np.array_equal(second.image, stack[1])
    with pytest.raises(InputError, match=r"frame '3' does not exist; allowed are mean and 0 to 2"):
        read_micrograph(tmp_path / "a.tif", frame="3")


def test_pages_of_different_shape_must_be_chosen(tmp_path: Path, counts: np.ndarray) -> None:
    with tifffile.TiffWriter(tmp_path / "a.tif") as out:
        out.write(counts, metadata=None)
        out.write(counts[:40, :50], metadata=None)
    with pytest.raises(InputError, match=r"holds 2 images .*48 x 60.*40 x 50.*FILE::0"):
        read_micrograph(tmp_path / "a.tif", pixel_size_nm=0.02)
    got = read_micrograph(f"{tmp_path / 'a.tif'}::1", pixel_size_nm=0.02)
    assert np.array_equal(got.image, counts[:40, :50])
    assert got.name == "a_1"
    assert np.array_equal(read_micrograph(tmp_path / "a.tif", pixel_size_nm=0.02, dataset=0).image, counts)


def test_grey_rgb_is_read_and_colour_refused(tmp_path: Path, counts: np.ndarray) -> None:
    grey = (counts // 16).astype(np.uint8)
    rgba = np.dstack([grey, grey, grey, np.full_like(grey, 7)])
    tifffile.imwrite(tmp_path / "grey.tif", rgba, photometric="rgb", extrasamples=["unassalpha"])
    assert np.array_equal(read_micrograph(tmp_path / "grey.tif", pixel_size_nm=0.02).image, grey)
    colour = np.dstack([grey, grey[::-1], grey[:, ::-1]])
    tifffile.imwrite(tmp_path / "colour.tif", colour, photometric="rgb")
    with pytest.raises(InputError, match="colour image"):
        read_micrograph(tmp_path / "colour.tif", pixel_size_nm=0.02)


def test_planar_rgb_is_no_stack(tmp_path: Path, counts: np.ndarray) -> None:
    grey = (counts // 16).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", np.stack([grey] * 3), photometric="rgb", planarconfig="separate")
    got = read_micrograph(tmp_path / "a.tif", pixel_size_nm=0.02)
    assert got.n_frames == 1
    assert np.array_equal(got.image, grey)


def test_user_size_goes_first_and_a_disagreement_is_told(tmp_path: Path, counts: np.ndarray) -> None:
    path = imagej(tmp_path / "a.tif", counts, "nm", (50.0, 50.0))
    near = read_micrograph(path, pixel_size_nm=0.0205)
    assert (near.calibration.mean_nm, near.warnings) == (pytest.approx(0.0205), ())
    far = read_micrograph(path, pixel_size_nm=(0.03, 0.02))
    assert far.calibration.pixel_size_nm == (0.03, 0.02)
    assert far.calibration.origin is CalibrationOrigin.USER
    assert any("0.03 x 0.02 nm" in text and "0.02 x 0.02 nm" in text for text in far.warnings)


def test_a_page_that_lies_beyond_the_end_is_not_filled_with_zeros(tmp_path: Path, counts: np.ndarray) -> None:
    tifffile.imwrite(tmp_path / "whole.tif", counts, compression="zlib", rowsperstrip=8)
    data = bytearray((tmp_path / "whole.tif").read_bytes())
    with tifffile.TiffFile(tmp_path / "whole.tif") as tif:
        tag = tif.pages[0].tags["StripOffsets"]
    position = tag.valueoffset + 4 * (tag.count - 1)
    data[position : position + 4] = struct.pack("<I", len(data) - 3)
    (tmp_path / "a.tif").write_bytes(data)
    with pytest.raises(InputError, match="cut short: its pixels reach to byte"):
        read_micrograph(tmp_path / "a.tif", pixel_size_nm=0.02)


@pytest.mark.parametrize("flavour", ["imagej", "ome"])
def test_channels_are_detectors_and_are_never_averaged(tmp_path: Path, counts: np.ndarray, flavour: str) -> None:
    channels = np.stack([counts, counts // 2])
    tifffile.imwrite(
        tmp_path / "a.tif", channels, imagej=flavour == "imagej", ome=flavour == "ome", metadata={"axes": "CYX"}
    )
    with pytest.raises(InputError, match=r"holds 2 images \(0: channel 0 .*; 1: channel 1"):
        read_micrograph(tmp_path / "a.tif", pixel_size_nm=0.02)
    assert np.array_equal(read_micrograph(tmp_path / "a.tif", pixel_size_nm=0.02, dataset=1).image, counts // 2)
