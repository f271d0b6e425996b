"""The lattice part of a result folder: written with the rest, complete or not at all, and read back."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile

from atomseg.errors import OutputError
from atomseg.io import read_analysis, result_matches, summarize, write_analysis
from atomseg.types import AnalysisRecord, LatticeMaps
from atomseg.types.lattice import DEPTH_PROFILE_FIELDS, DISLOCATION_FIELDS, LATTICE_FIELDS

FILES = (
    "lattice.csv",
    "dislocations.csv",
    "depth_profile.csv",
    "spacing.tif",
    "strain_cc.tif",
    "strain_ip.tif",
    "shear.tif",
    "rotation.tif",
    "occupancy_err.tif",
)


@pytest.fixture
def full(record: AnalysisRecord) -> AnalysisRecord:
    """The complete record with lattice maps, unknown numbers among them."""
    rng = np.random.default_rng(8)
    shape = record.micrograph.shape
    planes = rng.random((6, *shape), dtype=np.float32)
    planes[:, :5] = np.nan
    columns = pd.DataFrame({name: rng.random(4) for name in LATTICE_FIELDS})
    columns["id"], columns["in_reference"] = np.arange(4), [1, 1, 0, 0]
    columns.loc[3, "strain_cc"] = np.nan
    dislocations = pd.DataFrame({name: rng.random(2) for name in DISLOCATION_FIELDS})
    dislocations["dislocation_id"], dislocations["sign"] = [0, 1], [1, -1]
    dislocations["kind"] = ["partial", "extra_layer"]
    profile = pd.DataFrame({name: rng.random(3) for name in DEPTH_PROFILE_FIELDS}).assign(
        surface_id=[0, 0, 1], n_columns=[5, 6, 7]
    )
    lattice = LatticeMaps(
        columns,
        *planes,
        dislocations,
        profile,
        {"n_columns": 3, "reference": None, "phases": {"layered": {"n_columns": 3}}},
        {"n": 2, "density_per_um2": 1000.0},
        {"fault_fraction": 0.25, "classified_pairs": 8},
        ("no bulk",),
    )
    return dataclasses.replace(record, lattice=lattice)


def test_round_trip(full: AnalysisRecord, tmp_path: Path) -> None:
    write_analysis(full, tmp_path / "a")
    assert {path.name for path in (tmp_path / "a").iterdir()} >= set(FILES)
    got, want = read_analysis(tmp_path / "a").lattice, full.lattice
    assert got is not None
    assert want is not None
    for name, plane in want.planes().items():
        assert np.array_equal(got.planes()[name], plane, equal_nan=True)
    for ours, theirs in ((got.columns, want.columns), (got.dislocations, want.dislocations)):
        assert list(ours.columns) == list(theirs.columns)
        assert [kind.kind for kind in ours.dtypes] == [kind.kind for kind in theirs.dtypes]
        numbers = theirs.select_dtypes("number").columns
        # Six significant digits, four decimals of nm.
        assert ours[numbers].to_numpy() == pytest.approx(theirs[numbers].to_numpy(), rel=1e-5, abs=1e-4, nan_ok=True)
    assert got.depth_profile["n_columns"].tolist() == [5, 6, 7]
    assert (got.summary, got.dislocation_summary, got.fault_summary) == (
        want.summary,
        want.dislocation_summary,
        want.fault_summary,
    )
    assert got.warnings == want.warnings


def test_numbers_are_in_the_summary(full: AnalysisRecord) -> None:
    summary = summarize(full)
    assert summary["lattice"]["n_columns"] == 3
    assert summary["dislocations"]["density_per_um2"] == 1000.0
    assert summary["faults"]["fault_fraction"] == 0.25
    assert summary["faults"]["n"] == 1


def test_what_was_not_looked_for_has_no_number(full: AnalysisRecord) -> None:
    assert full.lattice is not None
    none = dataclasses.replace(full.thickness, faults=full.thickness.faults.iloc[:0])
    for pairs, n in ((0, None), (8, 0)):
        lattice = dataclasses.replace(full.lattice, fault_summary={"classified_pairs": pairs})
        faults = summarize(dataclasses.replace(full, lattice=lattice, thickness=none))["faults"]
        assert (faults["n"], faults["total_length_nm"]) == (n, n)


def test_a_depth_profile_without_surfaces_is_still_read(full: AnalysisRecord, tmp_path: Path) -> None:
    write_analysis(full, tmp_path / "a")
    path = tmp_path / "a" / "depth_profile.csv"
    pd.read_csv(path).drop(columns="surface_id").to_csv(path, index=False)
    lattice = read_analysis(tmp_path / "a").lattice
    assert lattice is not None
    assert list(lattice.depth_profile.columns) == list(DEPTH_PROFILE_FIELDS)
    assert set(lattice.depth_profile["surface_id"]) == {0}


def test_maps_are_calibrated(full: AnalysisRecord, tmp_path: Path) -> None:
    write_analysis(full, tmp_path / "a")
    with tifffile.TiffFile(tmp_path / "a" / "strain_cc.tif") as tif:
        assert tif.imagej_metadata is not None
        assert tif.imagej_metadata["unit"] == "nm"
        assert tif.asarray().dtype == np.float32


@pytest.mark.parametrize("name", FILES)
def test_a_folder_without_one_of_the_files_is_incomplete(full: AnalysisRecord, tmp_path: Path, name: str) -> None:
    write_analysis(full, tmp_path / "a")
    same = {
        "sha256": "ab" * 32,
        "config": json.loads(json.dumps(full.provenance.config)),
        "model_sha256": "cd" * 32,
    }
    assert result_matches(tmp_path / "a", **same)
    (tmp_path / "a" / name).unlink()
    assert not result_matches(tmp_path / "a", **same)
    with pytest.raises(OutputError, match=name.replace(".", r"\.")):
        read_analysis(tmp_path / "a")


def test_a_record_without_lattice_writes_none_of_it(record: AnalysisRecord, tmp_path: Path) -> None:
    write_analysis(record, tmp_path / "a")
    assert not {path.name for path in (tmp_path / "a").iterdir()} & set(FILES)
    assert read_analysis(tmp_path / "a").lattice is None


def test_a_figure_can_not_take_the_name_of_a_map(full: AnalysisRecord, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"lattice\.csv"):
        write_analysis(full, tmp_path / "a", figures={"lattice.csv": b"x"})
