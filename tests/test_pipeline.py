"""The pipeline puts the stages together: what goes in reaches them, what they say comes out."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tifffile

import atomseg
from atomseg import Analysis, MapConfig, map_micrograph
from atomseg.analysis import checkout_commit
from atomseg.errors import CalibrationError, InputError, MissingPixelSizeError
from atomseg.io import COLUMN_TABLE_FIELDS, read_micrograph
from atomseg.networks import Model
from atomseg.pipeline import restored_on_input
from atomseg.types import CalibrationOrigin, Check, Columns, Micrograph, Phase, Prediction, ThicknessSummary, Verdict
from atomseg.types.columns import LOCALIZATION_FIELDS

PIXEL_NM = 0.02
SHAPE = (240, 260)


def _lattice_sites() -> np.ndarray:
    """(N, 2) (y, x) in nm of the bright columns of a layered oxide down a close-packed row, rows along x."""
    period, layer = 0.2490, 0.4730  # NMC-811: a sqrt(3) / 2 and c / 3
    rows = np.arange(-1, 12)
    return np.array([(row * layer, (n + row / 3 % 1) * period) for row in rows for n in range(-1, 23)])


def _lattice_image() -> np.ndarray:
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]] * PIXEL_NM
    image = np.full(SHAPE, 100.0)
    for site_y, site_x in _lattice_sites():
        image += 1000.0 * np.exp(-((y - site_y) ** 2 + (x - site_x) ** 2) / (2 * 0.05**2))
    return np.random.default_rng(0).poisson(image).astype(np.float32)


@pytest.fixture(scope="module")
def lattice() -> np.ndarray:
    return _lattice_image()


@pytest.fixture
def model() -> Model:
    """Stands for a loaded network; the stages that would use it are replaced by `stages`."""
    card = SimpleNamespace(id="none.v0")
    return Model(network=None, card=card, sha256="0" * 64, device="cpu", folder=Path())  # type: ignore[arg-type]


@pytest.fixture
def stages(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """Inference and localization that know the lattice; classification and measurement are the real ones."""

    def infer(micrograph: Micrograph, model: Model, config: object) -> Prediction:
        plane = micrograph.image
        return Prediction(
            heatmap=plane, offset_px=np.stack([plane, plane]), offset_sigma_px=plane, restored=plane, crystal=plane,
            pixel_size_nm=PIXEL_NM, scale=(1.0, 1.0), input_shape=micrograph.shape, model_id="none.v0",
            model_sha256="0" * 64,
        )  # fmt: skip

    def localize(micrograph: Micrograph, prediction: Prediction, config: object, *, device: str) -> Columns:
        size = np.asarray(micrograph.calibration.pixel_size_nm)
        yx = _lattice_sites() / PIXEL_NM
        yx = yx[((yx > 4) & (yx < np.array(SHAPE) - 5)).all(axis=1)]
        table = pd.DataFrame({name: np.zeros(len(yx)) for name in LOCALIZATION_FIELDS})
        table["id"], table["flags"] = np.arange(len(yx)), 0
        table[["y_px", "x_px"]] = yx
        table[["y_nm", "x_nm"]] = yx * size
        table[["sigma_y_pm", "sigma_x_pm"]] = 3.0
        table["amplitude"], table["background"], table["probability"] = 1000.0, 100.0, 0.99
        table[["fwhm_major_nm", "fwhm_minor_nm"]] = 0.118
        return Columns(table)

    def use() -> None:
        monkeypatch.setattr("atomseg.pipeline.infer", infer)
        monkeypatch.setattr("atomseg.pipeline.localize", localize)

    return use


@pytest.fixture
def analysis(lattice: np.ndarray, model: Model, stages: Callable[[], None]) -> Analysis:
    stages()
    return map_micrograph(lattice, pixel_size_nm=PIXEL_NM, model=model)


def test_a_perfect_layered_lattice_is_layered(analysis: Analysis) -> None:
    assert analysis.phases.fractions()["layered"] > 0.95  # the rest is the outermost row, where a gap has one side
    assert analysis.thickness.summary is None  # crystal to every border: no surface


def test_the_table_has_one_row_a_column_in_words(analysis: Analysis) -> None:
    table = analysis.columns
    assert tuple(table.columns) == COLUMN_TABLE_FIELDS
    assert len(table) == len(analysis.localized)
    assert set(table["phase"]) <= {phase.label for phase in Phase}


def test_provenance_is_complete(analysis: Analysis) -> None:
    made = analysis.provenance
    assert (made.version, made.model_id, made.model_sha256) == (atomseg.__version__, "none.v0", "0" * 64)
    assert made.config["input"] == {"pixel_size_nm": PIXEL_NM, "frame": "mean"}
    assert set(made.config) == {"infer", "localize", "classify", "measure", "lattice", "input"}
    assert {"torch", "numpy"} <= set(made.packages)
    assert made.seconds > 0


def test_the_commit_is_the_checkout_s() -> None:
    commit = checkout_commit()
    assert commit is None or re.fullmatch(r"[0-9a-f]{40}(-dirty)?", commit)


def test_inputs_of_every_kind_are_the_same(
    lattice: np.ndarray, analysis: Analysis, model: Model, tmp_path: Path
) -> None:
    hs = pytest.importorskip("hyperspy.api")
    signal = hs.signals.Signal2D(lattice)
    for axis in signal.axes_manager.signal_axes:
        axis.scale, axis.units = PIXEL_NM, "nm"
    tifffile.imwrite(
        tmp_path / "x.tif", lattice, imagej=True, resolution=(1 / PIXEL_NM, 1 / PIXEL_NM), metadata={"unit": "nm"}
    )
    for source in (signal, tmp_path / "x.tif", str(tmp_path / "x.tif"), read_micrograph(tmp_path / "x.tif")):
        other = map_micrograph(source, model=model)
        pd.testing.assert_frame_equal(other.columns, analysis.columns)
        assert np.array_equal(other.phases.labels, analysis.phases.labels)
    assert other.micrograph.calibration.origin is CalibrationOrigin.METADATA
    assert analysis.micrograph.calibration.origin is CalibrationOrigin.USER


def test_inputs_are_not_changed(lattice: np.ndarray, model: Model, stages: Callable[[], None]) -> None:
    stages()
    before = lattice.copy()
    map_micrograph(lattice, pixel_size_nm=PIXEL_NM, model=model)
    assert np.array_equal(lattice, before)


def test_settings_reach_their_stage(
    lattice: np.ndarray, model: Model, stages: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stages()
    seen: dict[str, object] = {}
    for name in ("infer", "localize", "classify", "measure"):
        stage = getattr(atomseg.pipeline, name)  # type: ignore[attr-defined]

        def spy(*args: object, _name: str = name, _stage: Callable = stage, **more: object) -> object:
            seen[_name] = args[-1]
            return _stage(*args, **more)

        monkeypatch.setattr(f"atomseg.pipeline.{name}", spy)
    config = MapConfig()
    order: list[str] = []
    map_micrograph(lattice, pixel_size_nm=PIXEL_NM, model=model, config=config, on_stage=order.append)
    assert seen == {name: getattr(config, name) for name in seen}
    assert order == ["read", "infer", "localize", "classify", "measure"]


def test_what_every_stage_warns_of_comes_out_once(
    lattice: np.ndarray, model: Model, stages: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stages()
    classify, measure = atomseg.pipeline.classify, atomseg.pipeline.measure  # type: ignore[attr-defined]
    checks = (
        Check("a", 1.0, Verdict.OK, "fine"),
        Check("b", 2.0, Verdict.WARN, "odd"),
        Check("c", 3.0, Verdict.STOP, "bad"),
    )
    monkeypatch.setattr("atomseg.pipeline.classify", lambda *args: dataclasses.replace(classify(*args), checks=checks))
    monkeypatch.setattr(
        "atomseg.pipeline.measure",
        lambda *args, **image: dataclasses.replace(measure(*args, **image), warnings=("odd", "thin")),
    )
    image = lattice.copy()
    image[5, 5] = np.nan
    found = map_micrograph(image, pixel_size_nm=PIXEL_NM, model=model)
    assert [check.name for check in found.checks] == ["contrast", "a", "b", "c"]
    assert found.warnings[-3:] == ("odd", "bad", "thin")
    assert len(found.warnings) == 4  # and the reader's, of the invalid pixel
    assert "bad" in repr(found)


def test_that_surfaces_differ_is_said_before_all_else(
    lattice: np.ndarray, model: Model, stages: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    stages()
    measure = atomseg.pipeline.measure  # type: ignore[attr-defined]
    thin = ThicknessSummary(3.0, 3.0, 2.8, 3.2, 2.7, 3.3, False, 0.0, None, "thin", {"thin": 1.0}, 9)
    faces = {0: thin, 1: dataclasses.replace(thin, mean_nm=22.0, thickness_class="thick")}
    monkeypatch.setattr(
        "atomseg.pipeline.measure",
        lambda *args, **image: dataclasses.replace(measure(*args, **image), surfaces=faces, warnings=("short",)),
    )
    image = lattice.copy()
    image[5, 5] = np.nan  # the reader has something to say too
    found = map_micrograph(image, pixel_size_nm=PIXEL_NM, model=model)
    assert found.warnings[0].startswith("the surfaces in view differ (surface 0 3.0 nm, surface 1 22.0 nm)")
    assert len(found.warnings) >= 3


def test_a_missing_pixel_size_is_offered_for_a_known_lattice(lattice: np.ndarray, model: Model, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", lattice)
    with pytest.raises(MissingPixelSizeError) as caught:
        map_micrograph(tmp_path / "x.tif", model=model)
    offered = re.search(r"--pixel-size-nm (0\.\d+)", str(caught.value).partition("looks like")[2])
    assert offered, caught.value
    # The lattice constant of the crystal is known to 2 %, the spots are found to a per cent or so.
    assert float(offered[1]) == pytest.approx(PIXEL_NM, rel=0.03)


def test_a_missing_pixel_size_is_not_guessed_for_noise(model: Model, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "x.tif", np.random.default_rng(0).random((200, 200), dtype=np.float32))
    with pytest.raises(MissingPixelSizeError, match="--pixel-size-nm") as caught:
        map_micrograph(tmp_path / "x.tif", model=model)
    assert "looks like" not in str(caught.value)


@pytest.mark.parametrize("size", [-0.02, 0.0, 20.0, float("nan"), float("inf")])
def test_an_absurd_pixel_size_is_refused(lattice: np.ndarray, model: Model, size: float) -> None:
    with pytest.raises(CalibrationError):
        map_micrograph(lattice, pixel_size_nm=size, model=model)


@pytest.mark.parametrize("scale", [(1.0, 1.0), (2.5, 2.5), (0.6, 0.55)])
def test_the_restored_image_lies_on_the_input(scale: tuple[float, float]) -> None:
    """A spot at a known place of the input must be there after the way through the canonical grid."""
    shape, spot = (60, 70), np.array([31.3, 40.8])
    canonical = tuple(round(n / s) for n, s in zip(shape, scale, strict=True))
    exact = tuple(n / c for n, c in zip(shape, canonical, strict=True))
    y, x = np.mgrid[: canonical[0], : canonical[1]]
    at = (spot + 0.5) / exact - 0.5
    sigma = 3.0 / np.asarray(exact)
    plane = np.exp(-(((y - at[0]) / sigma[0]) ** 2 + ((x - at[1]) / sigma[1]) ** 2) / 2).astype(np.float32)
    prediction = Prediction(
        heatmap=plane, offset_px=np.stack([plane, plane]), offset_sigma_px=plane, restored=plane, crystal=plane,
        pixel_size_nm=0.025, scale=(exact[0], exact[1]), input_shape=shape, model_id="", model_sha256="",
    )  # fmt: skip
    restored = restored_on_input(prediction)
    assert restored.shape == shape
    assert restored.dtype == np.float32
    rows, cols = np.mgrid[: shape[0], : shape[1]]
    centre = np.array([(rows * restored).sum(), (cols * restored).sum()]) / restored.sum()
    # Cubic interpolation of a spot sampled at 1.2 px or more per sigma is exact to a few thousandths of a pixel.
    assert centre == pytest.approx(spot, abs=0.01)


def test_saved_and_loaded_is_the_same(
    lattice: np.ndarray, model: Model, stages: Callable[[], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stages()
    monkeypatch.setattr("atomseg.report.figure_files", lambda record: {"overview.png": b"png"})
    tifffile.imwrite(
        tmp_path / "x.tif", lattice, imagej=True, resolution=(1 / PIXEL_NM, 1 / PIXEL_NM), metadata={"unit": "nm"}
    )
    analysis = map_micrograph(tmp_path / "x.tif", model=model)
    loaded = Analysis.load(analysis.save(tmp_path / "out"))
    assert isinstance(loaded, Analysis)
    assert loaded.summary == analysis.summary
    assert np.array_equal(loaded.micrograph.image, analysis.micrograph.image)
    assert np.array_equal(loaded.restored, analysis.restored)
    assert np.array_equal(loaded.phases.labels, analysis.phases.labels)
    # Tables are written with a readable number of digits: four decimals of a pixel.
    pd.testing.assert_frame_equal(loaded.columns, analysis.columns, atol=1e-4, rtol=1e-4, check_dtype=False)
    assert repr(loaded) == repr(analysis)


def test_the_text_names_what_matters(analysis: Analysis) -> None:
    text = repr(analysis)
    for word in ("20.00 pm (user)", "R-3m", "no surface in view", "none.v0", f"{len(analysis.localized)}"):
        assert word in text


def test_hyperspy_signals_are_calibrated_and_marked(analysis: Analysis) -> None:
    pytest.importorskip("hyperspy.api")
    signals = analysis.to_hyperspy()
    lattice = {"spacing", "strain_cc", "strain_ip", "shear", "rotation", "occupancy_err"}
    assert set(signals) == {"image", "restored", "phases", "confidence", "occupancy", "depth"} | lattice
    for signal in signals.values():
        x, y = signal.axes_manager.signal_axes
        assert (x.name, x.size, y.name, y.size) == ("x", SHAPE[1], "y", SHAPE[0])
        assert (x.scale, x.units, x.offset) == (PIXEL_NM, "nm", 0.0)
    assert np.array_equal(signals["phases"].data, analysis.phases.labels)
    marked = [marker for _, marker in signals["image"].metadata.Markers]
    offsets = np.concatenate([np.asarray(marker.kwargs["offsets"]) for marker in marked])
    assert len(offsets) == len(analysis.localized)
    assert np.allclose(np.sort(offsets[:, 0]), np.sort(analysis.localized.yx_nm[:, 1]))
    # A signal is a copy: working on it does not change the analysis.
    signals["restored"].data[:] = 0
    assert analysis.restored.any()


def test_plot_gives_a_figure(analysis: Analysis) -> None:
    assert analysis.plot().axes


def test_dark_atoms_are_refused(lattice: np.ndarray, model: Model) -> None:
    with pytest.raises(InputError, match="dark"):
        map_micrograph(lattice.max() - lattice, pixel_size_nm=PIXEL_NM, model=model)
