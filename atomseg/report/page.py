"""The page of one micrograph: pan, zoom, switch layers, read columns, and follow the surface along its profile."""

import base64
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
import pandas as pd

from atomseg.imaging import at_nearest_pixels
from atomseg.measure.config import THICK_ABOVE_NM, THIN_BELOW_NM
from atomseg.report.layers import color_stops, page_layers
from atomseg.report.methods import methods_paragraph, references
from atomseg.report.panels import spacing_nm
from atomseg.report.plot_library import ASSETS, library_name, library_packed, render, script_json
from atomseg.report.style import PHASE_COLORS
from atomseg.report.text import defect_rows, result_rows, warning_lines
from atomseg.report.thumbnail import thumbnail_jpeg
from atomseg.types import AnalysisRecord, ColumnFlag, Phase

_NO_MAPS: Mapping[str, np.ndarray] = MappingProxyType({})
# Files beside the page; those of the lattice are left out of a result without it.
_OF_LATTICE = frozenset({"maps.png", "lattice.csv", "dislocations.csv", "depth_profile.csv"})
_FILES = (
    ("overview.png", "figure"),
    ("overview.pdf", "figure for print"),
    ("maps.png", "lattice maps"),
    ("columns.csv", "columns"),
    ("layers.csv", "layers and stacking"),
    ("thickness.csv", "thickness"),
    ("faults.csv", "O1 faults"),
    ("dislocations.csv", "dislocations"),
    ("lattice.csv", "spacing and strain"),
    ("depth_profile.csv", "profile with depth"),
    ("phases.tif", "phase map"),
    ("restored.tif", "restored image"),
    ("summary.json", "numbers and provenance"),
)
_LENGTHS = ("thickness", "lower", "upper", "t_50", "t_rocksalt", "t_mix", "front_width", "available")
# What columns can be coloured by: field, name, unit, range (None: 2nd to 98th percentile).
_COLORINGS: tuple[tuple[str, str, str, tuple[float, float] | None], ...] = (
    ("sigma", "position error", "pm", None),
    ("occupancy", "interlayer occupancy", "", (0.0, 1.0)),
    ("shift", "size of the stacking shift", "row periods", (0.0, 0.5)),
    ("certainty", "probability of its phase", "", (0.5, 1.0)),
    ("fwhm", "mean width (FWHM)", "pm", None),
    ("depth", "depth below the surface", "nm", None),
    ("spacing", "layer spacing", "nm", None),
    ("strain_cc", "strain across the layers", "%", None),
    ("strain_ip", "strain along the rows", "%", None),
)


def page_html(record: AnalysisRecord, *, maps: Mapping[str, np.ndarray] = _NO_MAPS, root: str | None = None) -> str:
    """A page that opens offline beside the other files of the result.

    Parameters
    ----------
    record : AnalysisRecord
        The result.
    maps : mapping of str to numpy.ndarray
        Further (H, W) maps on the input's pixel grid by name, beside those that the record holds.
    root : str, optional
        Address of the batch's output folder as seen from the page (``".."``): the page then takes the plot library from
        there and links to the cohort's page. None makes a page that needs no other file.
    """
    height, width = record.micrograph.shape
    size_y, size_x = record.micrograph.calibration.pixel_size_nm
    return render(
        "page.html",
        title=record.micrograph.name,
        origin=record.micrograph.path or "",
        rows=result_rows(record) + defect_rows(record),
        warnings=warning_lines(record),
        checks=[(check.name, _shown(check.value), str(check.verdict), check.message) for check in record.checks],
        methods=methods_paragraph(record),
        references=references(record),
        provenance=_provenance(record),
        files=[f for f in _FILES if record.lattice is not None or f[0] not in _OF_LATTICE],
        n_surfaces=record.thickness.points["surface_id"].nunique() if len(record.thickness.points) else 0,
        n_dislocations=0 if record.lattice is None else len(record.lattice.dislocations),
        shape=f"{width * size_x:.4f} / {height * size_y:.4f}",
        data=script_json(page_data(record, maps)),
        packed="" if root is not None else library_packed(),
        library="" if root is None else f"{root}/{ASSETS}/{library_name()}",
        home="" if root is None else f"{root}/report.html",
    )


def page_files(
    record: AnalysisRecord, *, maps: Mapping[str, np.ndarray] = _NO_MAPS, root: str | None = None
) -> dict[str, bytes]:
    """The page and the small picture for the cohort's page, as files that go beside the tables; see `page_html`."""
    page = page_html(record, maps=maps, root=root)
    return {"page.html": page.encode("utf-8"), "thumbnail.jpg": thumbnail_jpeg(record)}


def page_data(record: AnalysisRecord, maps: Mapping[str, np.ndarray] = _NO_MAPS) -> dict[str, Any]:
    """All that the page's script draws, ready for JSON."""
    height, width = record.micrograph.shape
    size_y, size_x = record.micrograph.calibration.pixel_size_nm
    return {
        "name": record.micrograph.name,
        "view": [-0.5 * size_x, (width - 0.5) * size_x, (height - 0.5) * size_y, -0.5 * size_y],
        "spacing": round(spacing_nm(record), 4),
        "layers": page_layers(record, maps),
        "phases": [{"code": int(p), "label": p.label, "color": PHASE_COLORS[p]} for p in Phase],
        "flags": {str(flag.value): str(flag.name).lower().replace("_", " ") for flag in ColumnFlag if flag.value},
        "columns": _columns(record),
        "colorings": _colorings(record),
        "surfaces": _surfaces(record),
        "dislocations": _dislocations(record),
        "bounds": [THIN_BELOW_NM, THICK_ABOVE_NM],
        "ramp": color_stops("viridis"),
    }


def _fields(record: AnalysisRecord) -> dict[str, np.ndarray]:
    """(N,) values of every column that are drawn or read."""
    located, judged = record.localized.table, record.phases.columns
    shares = judged[["p_layered", "p_rocksalt", "p_o1", "p_unresolved"]].to_numpy(np.float32)
    sigma = located[["sigma_y_pm", "sigma_x_pm"]].to_numpy(np.float32)
    return {
        "x": located["x_nm"].to_numpy(),
        "y": located["y_nm"].to_numpy(),
        "sigma_y": sigma[:, 0],
        "sigma_x": sigma[:, 1],
        "sigma": np.sqrt((sigma**2).mean(axis=1)),
        "fwhm": 1e3 * np.sqrt(located["fwhm_major_nm"].to_numpy() * located["fwhm_minor_nm"].to_numpy()),
        **{name: shares[:, i] for i, name in enumerate(("p_layered", "p_rocksalt", "p_o1", "p_unresolved"))},
        "certainty": shares.max(axis=1) if len(shares) else np.zeros(0, np.float32),
        "occupancy": judged["interlayer_occupancy"].to_numpy(),
        "occupancy_err": judged["interlayer_occupancy_err"].to_numpy(),
        "shift": np.abs(judged["stacking_shift"].to_numpy(np.float32)),
        "depth": at_nearest_pixels(record.thickness.depth_nm, record.localized.yx_px),
        **_lattice_fields(record),
    }


def _lattice_fields(record: AnalysisRecord) -> dict[str, np.ndarray]:
    """(N,) spacing in nm and strain in percent of every column; empty without a lattice."""
    if record.lattice is None:
        return {}
    table = record.lattice.columns
    percent = {name: 100.0 * table[name].to_numpy(float) for name in ("strain_cc", "strain_ip")}
    return {"spacing": table["spacing_nm"].to_numpy(float), **percent}


def _columns(record: AnalysisRecord) -> dict[str, Any]:
    fields = {name: _packed(values, "<f4") for name, values in _fields(record).items()}
    fields["id"] = _packed(record.localized.table["id"].to_numpy(), "<f4")
    fields["phase"] = _packed(record.phases.columns["phase"].to_numpy(), "u1")
    fields["flags"] = _packed(record.localized.table["flags"].to_numpy(), "u1")
    return {"n": len(record.localized), "fields": fields}


def _colorings(record: AnalysisRecord) -> list[dict[str, Any]]:
    """Ways to colour columns for which there is a value."""
    told, fields = [], _fields(record)
    for key, label, unit, bounds in _COLORINGS:
        if key not in fields:
            continue
        known = fields[key][np.isfinite(fields[key])]
        if not known.size:
            continue
        low, high = bounds or (float(value) for value in np.percentile(known, [2.0, 98.0]))
        colors = "cividis" if key == "occupancy" else "viridis"
        told.append({"key": key, "label": label, "unit": unit, "low": low, "high": max(high, low + 1e-6),
                     "colors": color_stops(colors)})  # fmt: skip
    return told


def _surfaces(record: AnalysisRecord) -> list[dict[str, Any]]:
    size_y, size_x = record.micrograph.calibration.pixel_size_nm
    told, table = [], record.thickness.points
    for key in sorted({int(value) for value in table["surface_id"]}):
        points = table[table["surface_id"] == key].sort_values("s_nm")
        angle = np.deg2rad(points["normal_deg"].to_numpy(float))
        summary = record.thickness.surfaces.get(key)
        told.append(
            {
                "id": key,
                "mean": None if summary is None else summary.mean_nm,
                "s": _rounded(points["s_nm"]),
                "x": _rounded(points["x_px"] * size_x),
                "y": _rounded(points["y_px"] * size_y),
                "dx": _rounded(pd.Series(np.cos(angle))),
                "dy": _rounded(pd.Series(np.sin(angle))),
                **{name: _rounded(points[f"{name}_nm"]) for name in _LENGTHS},
                "kind": _words(points, "surface_kind"),
                "overlayer": _rounded(points["overlayer_nm"]) if "overlayer_nm" in points else [None] * len(points),
                "event": [int(value) for value in points["event"]],
                "reason": _words(points, "reason"),
            }
        )
    return told


def _dislocations(record: AnalysisRecord) -> list[dict[str, Any]]:
    """Places and Burgers vectors of the dislocations, in nm."""
    if record.lattice is None:
        return []
    size_y, size_x = record.micrograph.calibration.pixel_size_nm
    return [
        {"id": int(row["dislocation_id"]), "x": round(float(row["x_px"]) * size_x, 4),
         "y": round(float(row["y_px"]) * size_y, 4), "kind": str(row["kind"]).replace("_", " "),
         "b": round(float(row["b_nm"]), 4), "angle": round(float(row["b_angle_deg"]), 1)}
        for row in record.lattice.dislocations.to_dict("records")
    ]  # fmt: skip


def _words(points: pd.DataFrame, name: str) -> list[str]:
    """Texts of a column of a table; empty where there are none."""
    values = points[name] if name in points else [""] * len(points)
    return [str(text).replace("_", " ") if isinstance(text, str) else "" for text in values]


def _provenance(record: AnalysisRecord) -> list[tuple[str, str]]:
    told = record.provenance
    rows = [
        ("Input", record.micrograph.path or "an array"),
        ("SHA-256 of the input", record.micrograph.sha256 or "unknown"),
        ("Program", f"atomseg {told.version}" + (f", commit {told.commit}" if told.commit else "")),
        ("Model", told.model_id),
        ("SHA-256 of the model", told.model_sha256),
        ("Device", told.device),
        ("Packages", ", ".join(f"{name} {version}" for name, version in told.packages.items())),
    ]
    return [(name, value) for name, value in rows if value]


def _packed(values: np.ndarray, kind: str) -> str:
    """Numbers as base64 of little-endian bytes: a third of the digits, read in a moment."""
    return base64.b64encode(np.asarray(values).astype(kind).tobytes()).decode("ascii")


def _rounded(values: pd.Series) -> list[float | None]:
    return [round(float(value), 4) if np.isfinite(value) else None for value in values.to_numpy(float)]


def _shown(value: float | str | None) -> str:
    return "" if value is None else f"{value:g}" if isinstance(value, int | float) else str(value)
