"""Whatever is wrong gives one clear line, the right exit code, and nothing half-written."""

import errno
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from typer.testing import Result

Invoke = Callable[..., Result]
Write = Callable[..., Path]

NM = {"imagej": True, "resolution": (50.0, 50.0), "metadata": {"unit": "nm"}}


def _noise(shape: tuple[int, ...], dtype: str = "uint16") -> np.ndarray:
    return np.random.default_rng(3).integers(0, 200, shape).astype(dtype)


def _nan(share: float) -> np.ndarray:
    image = _noise((64, 64), "float32")
    image.flat[: int(share * image.size)] = np.nan
    image.flat[-1] = np.inf
    return image


def _cut_short(path: Path) -> None:
    tifffile.imwrite(path, _noise((256, 256)), **NM)
    path.write_bytes(path.read_bytes()[:3000])


def _text(path: Path) -> None:
    path.write_text("this is no micrograph, whatever its name says\n" * 10)


def _write(array: np.ndarray) -> Callable[[Path], None]:
    return lambda path: tifffile.imwrite(path, array, resolution=(5e8, 5e8), resolutionunit=3)


REFUSED: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "no such file|not exist|missing|not found"),
    "empty": (lambda path: path.touch(), "empty"),
    "cut short": (_cut_short, "cut short|truncated|read"),
    "wrong extension": (_text, "TIFF"),
    "no pixel size": (lambda path: tifffile.imwrite(path, _noise((64, 64))), "--pixel-size-nm"),
    "constant": (_write(np.full((64, 64), 7, np.uint16)), "constant|one value|same value"),
    "only NaN": (_write(np.full((64, 64), np.nan, np.float32)), "finite|NaN|invalid"),
    "complex": (_write(_noise((64, 64), "complex64")), "complex"),
    "boolean": (_write(_noise((64, 64)) > 100), "bool|1-bit|bilevel|two values"),
    "1 x N": (_write(_noise((1, 500))), "1 x 500|small"),
    "10 x 10": (_write(_noise((10, 10))), "10 x 10|small"),
}


def _refusal(invoke: Invoke, path: Path, output: Path) -> str:
    done = invoke("map", path, "-o", output)
    assert done.exit_code == 1, done.output
    assert done.exception is None or isinstance(done.exception, SystemExit)
    assert "Traceback" not in done.output
    assert {entry.name for entry in output.iterdir()} == {"summary.csv", "report.html"}
    (row,) = pd.read_csv(output / "summary.csv").to_dict("records")
    assert row["status"] == "refused", row
    assert "\n" not in row["reason"]
    return str(row["reason"])


@pytest.mark.parametrize("case", REFUSED)
def test_not_a_micrograph(invoke: Invoke, tmp_path: Path, case: str) -> None:
    make, words = REFUSED[case]
    path = tmp_path / "bad.tif"
    make(path)
    reason = _refusal(invoke, path, tmp_path / "out").lower()
    assert any(word.lower() in reason for word in words.split("|")), reason


def test_two_signals_in_one_file(invoke: Invoke, tmp_path: Path) -> None:
    h5py = pytest.importorskip("h5py")
    hs = pytest.importorskip("hyperspy.api")
    signal = hs.signals.Signal2D(_noise((64, 64), "float32"))
    for axis in signal.axes_manager.signal_axes:
        axis.scale, axis.units = 0.02, "nm"
    path = tmp_path / "two.hspy"
    signal.save(path)
    with h5py.File(path, "r+") as file:
        (name,) = file["Experiments"]
        file.copy(f"Experiments/{name}", f"Experiments/{name}_again")
    assert "::" in _refusal(invoke, path, tmp_path / "out")
    assert invoke("map", f"{path}::1", "-o", tmp_path / "chosen").exit_code == 0


def test_some_invalid_pixels_are_mapped_with_a_warning(invoke: Invoke, tmp_path: Path) -> None:
    _write(_nan(0.01))(tmp_path / "holes.tif")
    assert invoke("map", tmp_path / "holes.tif", "-o", tmp_path / "out").exit_code == 0
    summary = json.loads((tmp_path / "out" / "holes" / "summary.json").read_text())
    assert any("NaN" in text or "finite" in text or "invalid" in text for text in summary["warnings"])


USAGE: dict[str, tuple[list[str], str]] = {
    "negative pixel": (["--pixel-size-nm", "-0.02"], "0.001"),
    "pixel in the wrong unit": (["--pixel-size-nm", "20"], "0.2"),
    "pixel is a word": (["--pixel-size-nm", "small"], "small"),
    "pixel is not a number": (["--pixel-size-nm", "nan"], "nan"),
    "three pixel sizes": (["--pixel-size-nm", "0.02,0.02,0.02"], "3"),
    "unknown section": (["--set", "mesure.closing_nm=1"], "measure"),
    "unknown key": (["--set", "measure.closing=1"], "closing_nm"),
    "value of the wrong type": (["--set", "measure.closing_nm=wide"], "wide"),
    "value out of range": (["--set", "measure.closing_nm=-1"], "-1"),
    "no value": (["--set", "measure.closing_nm"], "key=value"),
    "missing configuration": (["--config", "nowhere.yaml"], "nowhere.yaml"),
    "unknown device": (["--device", "tpu"], "cuda"),
    "no workers": (["--workers", "0"], "1 to"),
    "odd frame": (["--frame", "first"], "mean"),
    "scheduler": (["--scheduler", "tcp://host:8786"], "--workers"),
}


@pytest.mark.parametrize("case", USAGE)
def test_bad_usage_stops_before_anything_runs(invoke: Invoke, write_tif: Write, tmp_path: Path, case: str) -> None:
    options, words = USAGE[case]
    done = invoke("map", write_tif(tmp_path / "x.tif"), "-o", tmp_path / "out", *options)
    assert done.exit_code == 2, done.output
    assert words in done.output
    assert done.output.count("\n") == 1  # one line
    assert not (tmp_path / "out").exists()


def test_unknown_key_in_a_file(invoke: Invoke, write_tif: Write, tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("measure:\n  closing_mn: 1.0\n")
    done = invoke("map", write_tif(tmp_path / "x.tif"), "-o", tmp_path / "out", "--config", tmp_path / "mine.yaml")
    assert done.exit_code == 2
    assert "mine.yaml" in done.output
    assert "'closing_nm'" in done.output


def test_inputs_that_share_a_result_folder(invoke: Invoke, write_tif: Write, tmp_path: Path) -> None:
    write_tif(tmp_path / "x.tif")
    shutil.copy(tmp_path / "x.tif", tmp_path / "x.tiff")
    done = invoke("map", tmp_path / "x.tif", tmp_path / "x.tiff", "-o", tmp_path / "out")
    assert done.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_output_is_a_file(invoke: Invoke, write_tif: Write, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("precious")
    done = invoke("map", write_tif(tmp_path / "x.tif"), "-o", tmp_path / "out")
    assert done.exit_code == 2
    assert (tmp_path / "out").read_text() == "precious"


def test_a_foreign_summary_is_not_replaced(invoke: Invoke, write_tif: Write, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "summary.csv").write_text("sample,mass\nA,1\n")
    done = invoke("map", write_tif(tmp_path / "x.tif"), "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert (tmp_path / "out" / "summary.csv").read_text() == "sample,mass\nA,1\n"


def test_a_folder_of_other_files_is_not_replaced(invoke: Invoke, write_tif: Write, tmp_path: Path) -> None:
    (tmp_path / "out" / "x").mkdir(parents=True)
    (tmp_path / "out" / "x" / "thesis.txt").write_text("precious")
    for more in ([], ["--overwrite"]):
        assert invoke("map", write_tif(tmp_path / "x.tif"), "-o", tmp_path / "out", *more).exit_code == 1
        assert (tmp_path / "out" / "x" / "thesis.txt").read_text() == "precious"


def test_wrong_model_hash(
    invoke: Invoke, write_tif: Write, tmp_path: Path, untrained_models: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(untrained_models, tmp_path / "models")
    monkeypatch.setenv("ATOMSEG_MODELS", str(tmp_path / "models"))
    weights = next((tmp_path / "models").glob("*/model.safetensors"))
    weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
    _forget_model()
    done = invoke("map", write_tif(tmp_path / "x.tif"), "-o", tmp_path / "out", "--model", weights.parent)
    assert done.exit_code == 1
    assert "sha256" in done.output
    assert not (tmp_path / "out").exists()


def test_unknown_model(invoke: Invoke, write_tif: Write, tmp_path: Path) -> None:
    done = invoke("map", write_tif(tmp_path / "x.tif"), "-o", tmp_path / "out", "--model", "unet99.v7")
    assert done.exit_code == 1
    assert "unet24.v3" in done.output  # the known ones are listed


def test_full_disk(invoke: Invoke, write_tif: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("atomseg.io.results.write_map", full)
    done = invoke("map", write_tif(tmp_path / "x.tif"), "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert "disk" in done.output.lower() or "space" in done.output.lower()
    assert {entry.name for entry in (tmp_path / "out").iterdir()} == {"summary.csv", "report.html", "assets"}


def test_a_full_disk_keeps_the_last_whole_summary(
    invoke: Invoke, write_tif: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    invoke("map", write_tif(tmp_path / "x.tif"), "-o", tmp_path / "out")
    before = (tmp_path / "out" / "summary.csv").read_bytes()

    def full(self: Path, *_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    done = invoke("map", tmp_path / "x.tif", "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert "summary.csv can not be written" in done.output
    assert (tmp_path / "out" / "summary.csv").read_bytes() == before


def test_a_mistake_in_a_stage_is_told_with_its_place(
    invoke: Invoke, write_tif: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr("atomseg.pipeline.measure", broken)
    done = invoke("map", write_tif(tmp_path / "x.tif"), "-o", tmp_path / "out")
    assert done.exit_code == 1
    assert "ZeroDivisionError: oops (test_bad_input.py:" in done.output


def _forget_model() -> None:
    from atomseg.batch import work

    work._loaded_model.cache_clear()
