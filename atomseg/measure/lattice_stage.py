"""The lattice measurement: spacing, strain and rotation, dislocations, profiles with depth, share of faulted gaps."""

from collections import Counter

import numpy as np
import pandas as pd

from atomseg.imaging import at_nearest_pixels
from atomseg.measure.dislocations import find_dislocations
from atomseg.measure.faults import fault_statistics
from atomseg.measure.lattice import LocalLattice, fit_lattice
from atomseg.measure.lattice_config import LatticeConfig
from atomseg.measure.lattice_maps import depth_profile, occupancy_error_map, pixel_maps
from atomseg.measure.slow_scan import along_slow_scan, drift_warning, slow_scan_shares
from atomseg.measure.strain import Reference, choose_reference, lattice_table
from atomseg.types import Calibration, Columns, Phase, PhaseMap
from atomseg.types.lattice import LatticeMaps

# Columns that miss their lattice by more than this, rms over both axes, make false dislocations (benchmarks/accuracy/
# dislocations.py: none in 12 000 nm² at 12 pm, 0 to 7 in 1000 nm² at 18 pm).
UNCERTAIN_MISFIT_PM = 15.0
# Numbers of a phase come from this many columns at least.
FEWEST_FOR_STATISTICS = 10
STATISTICS = ("period_nm", "spacing_nm", "strain_cc", "strain_ip", "shear", "rotation_deg")


def measure_lattice(
    columns: Columns,
    phases: PhaseMap,
    calibration: Calibration,
    depth_nm: np.ndarray,
    config: LatticeConfig,
    *,
    points: pd.DataFrame | None = None,
) -> LatticeMaps:
    """Lattice spacing, strain and rotation of every column and pixel, dislocations and profiles with depth.

    Read off columns without the line errors of the scan, where the classification has found them.

    Parameters
    ----------
    columns : Columns
        Columns of the micrograph.
    phases : PhaseMap
        Their phases, rows and frames; without frames everything is unknown.
    calibration : Calibration
        Pixel size.
    depth_nm : numpy.ndarray
        (H, W) depth below the nearest surface, NaN where there is none.
    config : LatticeConfig
        Settings.
    points : pandas.DataFrame, optional
        Surface points, `PROFILE_FIELDS`: the profiles with depth are then given surface by surface. None takes all
        crystal as below one surface.

    Returns
    -------
    LatticeMaps
    """
    pixel = calibration.pixel_size_nm
    yx = columns.yx_nm if phases.scan_corrected_nm is None else phases.scan_corrected_nm
    phase = phases.columns["phase"].to_numpy() if len(columns) else np.zeros(0, int)
    row_id = phases.columns["row_id"].to_numpy() if len(columns) else np.zeros(0, int)
    lattice = fit_lattice(yx, columns.sigma_nm, row_id, phases.frames, config.window_nm)
    reference = choose_reference(lattice, columns.yx_px, phase, at_nearest_pixels(depth_nm, columns.yx_px), config)
    table = lattice_table(lattice, reference)
    values = {
        name: table[field].to_numpy()
        for name, field in (
            ("spacing", "spacing_nm"),
            ("strain_cc", "strain_cc"),
            ("strain_ip", "strain_ip"),
            ("shear", "shear"),
            ("rotation", "rotation_deg"),
        )
    }
    crystal = phases.labels != Phase.NONE
    maps = pixel_maps(yx, values, shape=phases.labels.shape, pixel_nm=pixel, crystal=crystal, grid_nm=config.grid_nm)
    drifting = along_slow_scan(yx, table, phase, lattice, reference)
    dislocations, area = find_dislocations(yx, lattice, pixel, depth_nm, config.smallest_burgers)
    return LatticeMaps(
        columns=table,
        **maps,
        occupancy_err=occupancy_error_map(phases, pixel, config.grid_nm),
        dislocations=dislocations,
        depth_profile=depth_profile(
            phases, table, columns.yx_px, depth_nm, points=points, pixel_nm=pixel, bin_nm=config.depth_bin_nm
        ),
        summary=_summary(lattice, reference, table, phase, columns.yx_px)
        | {"slow_scan_share": slow_scan_shares(yx, table, phase), "along_slow_scan": drifting},
        dislocation_summary=_dislocation_summary(dislocations, area),
        fault_summary=fault_statistics(phases.gaps, _mean_spacing(phases)),
        warnings=(*_warnings(lattice, reference, dislocations), *drift_warning(drifting)),
    )


def _mean_spacing(phases: PhaseMap) -> float:
    return 2.0 * float(np.hypot(*phases.frames[0].stack_yx_nm)) if phases.frames else float("nan")


def _summary(
    lattice: LocalLattice, reference: Reference | None, table: pd.DataFrame, phase: np.ndarray, yx_px: np.ndarray
) -> dict[str, object]:
    """``lattice`` of summary.json."""
    known = lattice.known
    by_phase: dict[str, object] = {}
    for p in (Phase.LAYERED, Phase.ROCKSALT, Phase.O1):
        members = table[known & (phase == p)]
        if len(members) >= FEWEST_FOR_STATISTICS:
            by_phase[p.key] = _statistics(members)
    return {
        "n_columns": int(known.sum()),
        "reference": None if reference is None else _reference(reference, yx_px),
        "phases": by_phase,
        "median_error": {
            name: float(np.nanmedian(table[f"{name}_err"])) if table[f"{name}_err"].notna().any() else None
            for name in ("strain_cc", "strain_ip", "shear")
        },
        "median_misfit_pm": _misfit_pm(lattice),
        "column_jitter_pm": [1e3 * float(v) for v in lattice.jitter_nm],
        "line_jitter_pm": [1e3 * float(v) for v in lattice.line_nm],
    }


def _statistics(members: pd.DataFrame) -> dict[str, object]:
    out: dict[str, object] = {"n_columns": len(members)}
    for name in STATISTICS:
        value = members[name].dropna()
        out[name] = {"median": float(value.median()), "sd": float(value.std())} if len(value) > 1 else None
    return out


def _reference(reference: Reference, yx_px: np.ndarray) -> dict[str, object]:
    member = reference.member
    period = float(np.hypot(*reference.row))
    area = reference.row[0] * reference.layer[1] - reference.row[1] * reference.layer[0]
    low, high = yx_px[member].min(axis=0), yx_px[member].max(axis=0)
    return {
        "source": reference.source,
        "n_columns": int(member.sum()),
        "box_px": [float(v) for v in (*low, *high)],
        "period_nm": period,
        "spacing_nm": float(abs(area) / period),
        "row_deg": float(np.rad2deg(np.arctan2(reference.row[0], reference.row[1])) % 180.0),
    }


def _dislocation_summary(table: pd.DataFrame, area_nm2: float) -> dict[str, object]:
    kinds = Counter(table["kind"])
    return {
        # No dislocation where none was looked for is no finding.
        "n": len(table) if area_nm2 > 0 else None,
        "by_kind": {str(name): kinds[name] for name in sorted(kinds)},
        "searched_area_nm2": area_nm2,
        "density_per_um2": len(table) / area_nm2 * 1e6 if area_nm2 > 0 else None,
    }


def _misfit_pm(lattice: LocalLattice) -> float | None:
    known = lattice.known
    return 1e3 * float(np.median(lattice.misfit_nm[known])) if known.any() else None


def _warnings(lattice: LocalLattice, reference: Reference | None, dislocations: pd.DataFrame) -> tuple[str, ...]:
    told = []
    misfit = _misfit_pm(lattice)
    if misfit is None:
        return ()
    if reference is None:
        told.append(
            "strain and rotation are not given: there is no bulk to relate them to (30 columns of layered crystal, or "
            "of the rectangle lattice.reference_px, are needed)"
        )
    if len(dislocations) and misfit > UNCERTAIN_MISFIT_PM:
        told.append(
            f"columns lie {misfit:.0f} pm off their lattice (rms): of the {len(dislocations)} dislocations some can be "
            f"noise, which above {UNCERTAIN_MISFIT_PM:.0f} pm opens circuits without a core"
        )
    return tuple(told)
