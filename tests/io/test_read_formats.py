"""Microscope formats: written here where a writer exists, otherwise the real files of the shared folder."""

import json
import struct
import subprocess
import sys
import warnings
from pathlib import Path

import h5py
import hyperspy.api as hs
import numpy as np
import pytest
from PIL import Image

from atomseg.errors import AtomsegError, InputError, MissingPixelSizeError
from atomseg.io import read_frames, read_micrograph, sha256_of


def signal(image: np.ndarray, scale: float = 0.012, unit: str = "nm", title: str = "scan") -> hs.signals.Signal2D:
    made = hs.signals.Signal2D(image, metadata={"General": {"title": title}})
    for axis, factor in zip(made.axes_manager.signal_axes, (1.0, 1.5), strict=True):  # x, then y
        axis.scale, axis.units = scale * factor, unit
    return made


@pytest.mark.parametrize("suffix", [".hspy", ".zspy"])
@pytest.mark.parametrize(("unit", "factor"), [("nm", 1.0), ("Å", 10.0), ("µm", 1e-3), ("pm", 1e3)])
def test_hyperspy_files(tmp_path: Path, counts: np.ndarray, suffix: str, unit: str, factor: float) -> None:
    path = tmp_path / f"a{suffix}"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # zarr 2 about its own next version
        signal(counts, 0.012 * factor, unit).save(path)
    got = read_micrograph(path)
    assert got.calibration.pixel_size_nm == pytest.approx((0.018, 0.012))
    assert np.array_equal(got.image, counts)
    assert (got.name, got.metadata["title"], got.path) == ("a", "scan", str(path))
    assert got.sha256 == sha256_of(path)


def test_hyperspy_signals_without_a_file(counts: np.ndarray) -> None:
    got = read_micrograph(signal(counts))
    assert (got.name, got.path) == ("scan", None)
    assert got.calibration.pixel_size_nm == pytest.approx((0.018, 0.012))
    assert np.array_equal(got.image, counts)
    lazy = read_micrograph(signal(counts).as_lazy())
    assert lazy.sha256 == got.sha256
    assert read_micrograph(signal(counts + 1)).sha256 != got.sha256
    stack = hs.signals.Signal2D(np.stack([counts, counts // 2]))
    assert len(read_frames(stack, pixel_size_nm=0.02)) == 2


def test_signals_that_are_no_images(counts: np.ndarray) -> None:
    with pytest.raises(InputError, match="1D signal"):
        read_micrograph(hs.signals.Signal1D(counts), pixel_size_nm=0.02)
    diffraction = signal(counts, 0.1, "1/nm")
    with pytest.raises(InputError, match="diffraction pattern or an FFT"):
        read_micrograph(diffraction, pixel_size_nm=0.02)
    spectrum = hs.signals.Signal1D(counts)
    spectrum.axes_manager[-1].units = "eV"
    with pytest.raises(InputError, match="spectrum"):
        read_micrograph(spectrum, pixel_size_nm=0.02)
    tilted = hs.signals.Signal2D(np.stack([counts] * 3))
    tilted.axes_manager[0].units = "deg"
    with pytest.raises(InputError, match="tilt series"):
        read_micrograph(tilted, pixel_size_nm=0.02)
    with pytest.raises(InputError, match="4D-STEM"):
        read_micrograph(hs.signals.Signal2D(np.zeros((2, 2, 40, 40))), pixel_size_nm=0.02)
    with pytest.raises(MissingPixelSizeError, match="pixel size missing"):
        read_micrograph(hs.signals.Signal2D(counts))


def test_colour_signal_is_made_grey(counts: np.ndarray) -> None:
    grey = (counts // 16).astype(np.uint8)
    pixels = np.zeros(grey.shape, dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    for channel in "RGB":
        pixels[channel] = grey
    assert np.array_equal(read_micrograph(hs.signals.Signal2D(pixels), pixel_size_nm=0.02).image, grey)


def several(path: Path, images: dict[str, np.ndarray]) -> Path:
    """Several images in one Berkeley EMD file, whose first axis is x."""
    with h5py.File(path, "w") as file:
        file.attrs["version_major"], file.attrs["version_minor"] = 0, 2
        for name, image in images.items():
            group = file.create_group(f"data/{name}")
            group.attrs["emd_group_type"] = 1
            group["data"] = image.T
            for i, size in enumerate(image.T.shape, start=1):
                axis = group.create_dataset(f"dim{i}", data=np.arange(size) * 0.02)
                axis.attrs["name"], axis.attrs["units"] = "xy"[i - 1], "nm"
    return path


def test_several_signals_in_one_file(tmp_path: Path, counts: np.ndarray) -> None:
    path = several(tmp_path / "two.emd", {"first": counts, "second": counts // 2})
    with pytest.raises(InputError, match=r"two\.emd: holds 2 images \(0: .*; 1: .*FILE::0"):
        read_micrograph(path)
    for choice in ("::1", "::second"):
        got = read_micrograph(f"{path}{choice}")
        assert np.array_equal(got.image, counts // 2)
        assert got.calibration.pixel_size_nm == pytest.approx((0.02, 0.02))
    with pytest.raises(InputError, match="no data set 'third' in the file"):
        read_micrograph(f"{path}::third")
    path = several(tmp_path / "haadf.emd", {"BF": counts, "HAADF": counts // 2})
    got = read_micrograph(path)
    assert np.array_equal(got.image, counts // 2)
    assert any("the only HAADF image of 2" in text for text in got.warnings)


def velox(path: Path, images: dict[str, np.ndarray], *, spectra: bool) -> Path:
    """A Velox file: images as (y, x, frame) with their metadata as JSON."""
    with h5py.File(path, "w") as file:
        file.create_dataset("Version", data=[json.dumps({"format": "Velox", "version": "1.0"}).encode()])
        for i, (name, image) in enumerate(images.items()):
            group = file.create_group(f"Data/Image/{i:032x}")
            group["Data"] = image if image.ndim == 3 else image[..., None]
            about = {
                "Core": {"MetadataDefinitionVersion": "7.9"},
                "BinaryResult": {
                    "PixelSize": {"width": "1.1e-11", "height": "1.2e-11"},
                    "PixelUnitX": "m",
                    "PixelUnitY": "m",
                    "Offset": {"x": "0", "y": "0"},
                    "Detector": name,
                    "DetectorIndex": "0",
                },
                "Detectors": {"Detector-0": {"DetectorName": name, "DetectorType": "ScanningDetector"}},
                "Optics": {"AccelerationVoltage": "200000", "CameraLength": "0.1"},
                "Scan": {"FrameTime": "1.0"},
                "Instrument": {"InstrumentModel": "Test"},
                "Acquisition": {"AcquisitionStartDatetime": {"DateTime": "1500000000"}},
                "Stage": {"AlphaTilt": "0", "BetaTilt": "0", "Position": {"x": "0", "y": "0", "z": "0"}},
            }
            text = np.frombuffer(json.dumps(about).encode(), np.uint8)
            group["Metadata"] = np.repeat(text[:, None], image.shape[2] if image.ndim == 3 else 1, axis=1)
        if spectra:
            file.create_group("Data/SpectrumImage/0")
    return path


@pytest.mark.parametrize("spectra", [False, True])
def test_velox(tmp_path: Path, counts: np.ndarray, spectra: bool) -> None:
    stack = np.stack([counts, counts // 2], axis=-1)
    path = velox(tmp_path / "a.emd", {"HAADF": stack, "DF4": counts}, spectra=spectra)
    got = read_micrograph(path, frame="1")
    assert np.array_equal(got.image, counts // 2)
    assert got.calibration.pixel_size_nm == pytest.approx((0.012, 0.011))
    assert float(got.metadata["beam_energy_kv"]) == 200.0
    assert read_micrograph(path).n_frames == 2


def mrc(path: Path, stack: np.ndarray, cell_angstrom: tuple[float, float], order: str = "<") -> Path:
    """An MRC2014 file, https://www.ccpem.ac.uk/mrc_format/mrc2014.php."""
    nz, ny, nx = stack.shape
    mode = {"i2": 1, "f4": 2, "u2": 6}[stack.dtype.str[1:]]
    header = bytearray(1024)
    struct.pack_into(f"{order}10i", header, 0, nx, ny, nz, mode, 0, 0, 0, nx, ny, nz)
    struct.pack_into(f"{order}3f", header, 40, cell_angstrom[1], cell_angstrom[0], float(nz))
    header[208:212] = b"MAP "
    header[212:214] = b"\x44\x44" if order == "<" else b"\x11\x11"
    path.write_bytes(bytes(header) + stack.astype(stack.dtype.newbyteorder(order)).tobytes())
    return path


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("dtype", ["i2", "f4", "u2"])
def test_mrc_of_both_byte_orders(tmp_path: Path, counts: np.ndarray, order: str, dtype: str) -> None:
    stack = np.stack([counts, counts // 2]).astype(dtype)
    path = mrc(tmp_path / "a.mrc", stack, (48 * 0.12, 60 * 0.11), order)
    got = read_micrograph(path, frame="1")
    assert np.array_equal(got.image, counts // 2)
    assert got.calibration.pixel_size_nm == pytest.approx((0.012, 0.011), rel=1e-6)  # float32 cell lengths
    single = read_micrograph(mrc(tmp_path / "b.mrc", stack[:1], (48 * 0.12, 60 * 0.11), order))
    assert (single.frame, single.shape) == ("single", (48, 60))


@pytest.mark.parametrize("cell", [(48.0, 60.0), (0.0, 0.0)])
def test_mrc_without_a_real_pixel_size(tmp_path: Path, counts: np.ndarray, cell: tuple[float, float]) -> None:
    with pytest.raises(MissingPixelSizeError):
        read_micrograph(mrc(tmp_path / "a.mrc", counts[None].astype("i2"), cell))


@pytest.mark.parametrize(("mode", "value"), [("L", 255), ("I;16", 65535)])
def test_png(tmp_path: Path, counts: np.ndarray, mode: str, value: int) -> None:
    image = (counts // 16).astype(np.uint8) if mode == "L" else counts
    Image.fromarray(image).save(tmp_path / "a.png")
    assert np.array_equal(read_micrograph(tmp_path / "a.png", pixel_size_nm=0.02).image, image)
    with pytest.raises(MissingPixelSizeError):
        read_micrograph(tmp_path / "a.png")


def test_png_palettes_alpha_and_one_bit(tmp_path: Path, counts: np.ndarray) -> None:
    grey = (counts // 16).astype(np.uint8)
    picture = Image.fromarray(grey)
    picture.convert("P").save(tmp_path / "palette.png")
    Image.merge("LA", [picture, picture.point(lambda v: 255 - v)]).save(tmp_path / "alpha.png")
    for name in ("palette", "alpha"):
        assert np.array_equal(read_micrograph(tmp_path / f"{name}.png", pixel_size_nm=0.02).image, grey)
    picture.convert("1").save(tmp_path / "mask.png")
    with pytest.raises(InputError, match="boolean"):
        read_micrograph(tmp_path / "mask.png", pixel_size_nm=0.02)


def test_jpeg_is_read_with_a_warning(tmp_path: Path) -> None:
    y, x = np.mgrid[:64, :64]
    image = (128 + 60 * np.cos(x / 3) * np.cos(y / 4)).astype(np.uint8)
    Image.fromarray(image).convert("RGB").save(tmp_path / "a.jpeg", quality=95)
    got = read_micrograph(tmp_path / "a.jpeg", pixel_size_nm=0.02)
    assert np.abs(got.image - image).max() < 8  # quality 95 keeps smooth patterns to a few grey levels
    assert any("lossy" in text for text in got.warnings)


def test_reading_does_not_load_heavy_packages(tmp_path: Path, counts: np.ndarray) -> None:
    signal(counts).save(tmp_path / "a.hspy")
    code = (
        "import sys; from atomseg.io import read_micrograph; "
        f"read_micrograph({str(tmp_path / 'a.hspy')!r}); "
        "print([m for m in ('torch', 'matplotlib', 'hyperspy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"


REAL = {
    "BTO_crystal_1.dm4": (413, 469, 0.02966),
    "16_STOimage_1.ser": (1024, 1024, 0.01001),
    "PTO100-40nm-ABF.dm4": (258, 244, 0.016),
    "PTO100-40nm-HAADF.dm4": (258, 244, 0.016),
    "PZO110-40nm-HAADF.dm4": (257, 294, 0.016),
    "readers/digitalmicrograph/2D/multi_signal.dm3": (512, 512, 0.017752),
    "readers/temp.mrc": (128, 128, 0.2),
}
REFUSED = {
    "08_carbon.dm3": "spectrum",
    "HAADF.dm3": "tilt series.*18 nm a pixel",
    "tem.tif": "screen grab",
    "readers/digitalmicrograph/2D/test_diffraction_pattern.dm3": "diffraction",
    "readers/digitalmicrograph/2D/test_fft_packed_complex8.dm4": "complex",
    "readers/digitalmicrograph/2D/test-14.dm3": "boolean",
    "readers/digitalmicrograph/2D/test_STEM_image.dm3": "0.2485 x 0.2485 nm",
    "readers/digitalmicrograph/3D/EELS_SI.dm4": "spectrum",
    "readers/dmTest_float32_nonSquare_diffPixelSize.dm3": "0.2 x 1 nm",
}


@pytest.mark.parametrize("name", REAL)
def test_real_files(shared_data: Path, name: str) -> None:
    got = read_micrograph(shared_data / "real" / name)
    height, width, size = REAL[name]
    assert got.shape == (height, width)
    # The numbers of the folder's README have four digits.
    assert got.calibration.pixel_size_nm == pytest.approx((size, size), rel=1e-3)


@pytest.mark.parametrize("name", REFUSED)
def test_real_files_that_are_no_micrographs(shared_data: Path, name: str) -> None:
    with pytest.raises(InputError, match=REFUSED[name]):
        read_micrograph(shared_data / "real" / name)


def test_scale_without_a_unit_is_offered(shared_data: Path) -> None:
    with pytest.raises(MissingPixelSizeError, match=r"a scale of 0\.00932627 with no unit"):
        read_micrograph(shared_data / "real" / "stem_abf_data.hspy")


def test_every_shared_file_gives_an_image_or_one_clear_line(shared_data: Path) -> None:
    for path in sorted((shared_data / "real").rglob("*")):
        if path.is_dir() or path.suffix == ".md":
            continue
        try:
            got = read_micrograph(path)
        except AtomsegError as exc:
            assert str(exc).startswith(path.name)
            assert "\n" not in str(exc)
        else:
            assert np.isfinite(got.image).all()
