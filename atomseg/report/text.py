"""The numbers of a result in words, as they stand in the figure and on the screen."""

import math

import numpy as np

from atomseg.types import AnalysisRecord, Phase, ThicknessSummary, Verdict

# Shares below this are stray pixels, and would read as 0 %.
SMALLEST_SHARE = 0.005


def thickness_text(record: AnalysisRecord) -> str:
    """The reconstruction layer in one line."""
    summary = record.thickness.summary
    if summary is None:
        return "no surface in view"
    return summary_text(summary)


def summary_text(summary: ThicknessSummary) -> str:
    """Mean with its range; a lower bound where most of the layer leaves the view."""
    if summary.mean_nm is None:
        if summary.lower_bound_nm is None:
            return "not measurable"
        return f"at least {summary.lower_bound_nm:.1f} nm"
    text = f"{'at least ' if summary.censored else ''}{summary.mean_nm:.1f} nm mean"
    if summary.p05_nm is not None and summary.p95_nm is not None:
        text += f" [{summary.p05_nm:.1f} to {summary.p95_nm:.1f}, 5-95 %]"
    return text


def class_text(summary: ThicknessSummary) -> str:
    """The class with its probability."""
    if summary.thickness_class is None:
        return "not decided"
    probability = summary.class_probability.get(summary.thickness_class, math.nan)
    return f"{summary.thickness_class} (p = {probability:.2f})"


def phases_text(record: AnalysisRecord) -> str:
    """Shares of the crystal's area."""
    fractions = record.phases.fractions()
    shares = [
        f"{phase.label} {100 * fractions[phase.key]:.1f} %"
        for phase in Phase
        if fractions.get(phase.key, 0.0) >= SMALLEST_SHARE
    ]
    return ", ".join(shares) or "no crystal found"


def checks_text(record: AnalysisRecord) -> str:
    """How many checks say what, and the names of those that are not ok."""
    told = [
        f"{verdict}: {', '.join(names)}"
        for verdict in (Verdict.STOP, Verdict.WARN)
        if (names := [check.name for check in record.checks if check.verdict is verdict])
    ]
    fine = sum(check.verdict is Verdict.OK for check in record.checks)
    return "; ".join([*told, f"{fine} ok"]).replace("_", " ")


def result_rows(record: AnalysisRecord) -> list[tuple[str, str]]:
    """Names and values of the numbers that belong beside the picture."""
    size_y, size_x = (1e3 * size for size in record.micrograph.calibration.pixel_size_nm)
    size = (
        f"{size_x:.2f} pm" if math.isclose(size_x, size_y, rel_tol=1e-4) else f"{size_y:.2f} x {size_x:.2f} pm (y, x)"
    )
    height, width = record.micrograph.shape
    sigma = np.nanmedian(record.localized.sigma_nm) * 1e3 if len(record.localized) else math.nan
    columns = str(len(record.localized))
    if math.isfinite(sigma):
        columns += f", standard error {sigma:.1f} pm (median)"
    rows = [
        ("Image", f"{width} x {height} px, {record.micrograph.frame} frame"),
        ("Pixel", f"{size} ({record.micrograph.calibration.origin})"),
        ("Columns", columns),
        ("Crystal", phases_text(record)),
        ("Thickness", thickness_text(record)),
    ]
    summary = record.thickness.summary
    if summary is not None:
        rows.append(("Class", class_text(summary)))
        rows.append(("Surface", _surface_text(record, summary)))
    faults = len(record.thickness.faults)
    if faults:
        rows.append(("O1 faults", str(faults)))
    rows.append(("Checks", checks_text(record)))
    rows.append(("Model", f"{record.provenance.model_id}, atomseg {record.provenance.version}"))
    return rows


def warning_lines(record: AnalysisRecord) -> list[str]:
    """What a person must read, the reasons to judge nothing first."""
    stops = [check.message for check in record.checks if check.verdict is Verdict.STOP and check.message]
    return list(dict.fromkeys([*stops, *record.warnings]))


def _surface_text(record: AnalysisRecord, summary: ThicknessSummary) -> str:
    n_surfaces = len(record.thickness.surfaces)
    faces = "" if n_surfaces <= 1 else f"{n_surfaces} surfaces, "
    return f"{faces}{summary.n_points} points, {summary.censored_fraction:.0%} reach out of view"


def defect_rows(record: AnalysisRecord) -> list[tuple[str, str]]:
    """Stacking and dislocations, where they were looked for."""
    rows = []
    stacking = record.phases.stacking
    if stacking.sequence:
        counts = ", ".join(f"{n} {label}" for label, n in stacking.counts.items() if n)
        rows.append(("Layers", f"{counts}; {stacking.twins} twin boundaries"))
        rows.append(("Stacking", stacking.sequence))
    if record.lattice is not None and len(record.lattice.dislocations):
        kinds = record.lattice.dislocations["kind"].value_counts()
        rows.append(("Dislocations", ", ".join(f"{n} {str(kind).replace('_', ' ')}" for kind, n in kinds.items())))
    return rows
