"""The classification stage."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from atomseg.classify.config import ClassifyConfig
from atomseg.classify.exposure import exposure_checks
from atomseg.classify.fitness import column_check, lattice_checks, reference_check
from atomseg.classify.frames import Frames, find_frames, find_triples, row_periods_nm, unit_across
from atomseg.classify.gaps import link_rows, measure_gaps
from atomseg.classify.layers import layer_table, stacking, stacking_checks
from atomseg.classify.posterior import PROBABILITY_FIELDS, STATES, phase_probabilities
from atomseg.classify.reference import alternates_along_rows, layers_alternate, only, shows_layers
from atomseg.classify.regions import REACH_NM, edge_in_view, paint
from atomseg.classify.rows import Chains, chain_gaps
from atomseg.classify.scan import ScanCorrected, without_line_errors
from atomseg.imaging import at_nearest_pixels
from atomseg.types import Check, Columns, LatticeFrame, Micrograph, PhaseMap, Verdict

GAP_FIELDS = (
    "y_nm",
    "x_nm",
    "row_lower",
    "row_upper",
    "shift",
    "shift_err",
    "occupancy",
    "occupancy_err",
    "phase",
)


def classify(micrograph: Micrograph, columns: Columns, config: ClassifyConfig) -> PhaseMap:
    """Read phases off the columns.

    Parameters
    ----------
    micrograph : Micrograph
        The image, for photometry of interlayer sites and the fitness checks.
    columns : Columns
        Its columns.
    config : ClassifyConfig
        Settings.

    Returns
    -------
    PhaseMap
        With every crystalline pixel and column `Phase.UNRESOLVED`, and the reason among the checks, when the image is
        not one of a layered oxide down the close-packed zone.
    """
    checks = [*exposure_checks(micrograph, columns), column_check(columns, micrograph)]
    amplitude = columns.table["amplitude"].to_numpy(dtype=float)
    frames, corrected = _no_frames(len(columns)), ScanCorrected(columns.yx_nm, columns.yx_nm)
    if not _stopped(checks):
        triples = find_triples(columns.yx_nm, amplitude, row_periods_nm(config))
        corrected = without_line_errors(columns.yx_nm, triples)
        frames = find_frames(corrected.all_waves, amplitude, config)
        checks += lattice_checks(columns, frames, micrograph)
        if _stopped(checks):
            frames = _no_frames(len(columns))
    judged = _judge(micrograph, columns, corrected.all_waves, frames, config)
    if not _stopped(checks):
        shown = shows_layers(judged.gaps, judged.probability, frames)
        at_edge = (
            not shown.any()
            and (
                layers_alternate(judged.gaps, judged.row_id)
                or alternates_along_rows(columns.yx_nm, amplitude, judged.row_id)
            )
            and edge_in_view(micrograph, columns.yx_nm, config)
        )
        checks.append(reference_check(frames, shown, at_edge=at_edge))
        if not (shown.all() or at_edge):
            frames = only(frames, shown)
            judged = _judge(micrograph, columns, corrected.all_waves, frames, config)
    gaps, probability = judged.gaps, judged.probability
    labels, confidence, field = paint(
        micrograph,
        columns.yx_nm,
        frames=frames,
        chains=judged.chains,
        gaps=gaps,
        probability=probability,
        config=config,
    )
    layers = layer_table(gaps, columns.yx_nm, amplitude, frames)
    together = stacking(layers)
    if not _stopped(checks):
        checks += stacking_checks(together)
    return PhaseMap(
        labels=labels,
        confidence=confidence,
        occupancy=field,
        columns=_column_phases(columns, judged.row_id, gaps, probability, labels),
        gaps=gaps[list(GAP_FIELDS)],
        frames=_mean_frames(frames),
        checks=tuple(checks),
        layers=layers,
        stacking=together,
        scan_corrected_nm=corrected.short_waves,
    )


@dataclass(frozen=True)
class _Judged:
    """Gaps with their phases, and the rows that they lie between."""

    row_id: np.ndarray
    chains: Chains
    gaps: pd.DataFrame
    probability: np.ndarray


def _judge(
    micrograph: Micrograph, columns: Columns, straight_nm: np.ndarray, frames: Frames, config: ClassifyConfig
) -> _Judged:
    """Rows, the gaps between them, and how likely each phase is in each."""
    row_id, right = link_rows(straight_nm, columns.table["amplitude"].to_numpy(dtype=float), frames)
    gaps = measure_gaps(micrograph, columns, frames, straight_nm=straight_nm, row_id=row_id, right=right, config=config)
    chains = chain_gaps(gaps, right)
    probability, occupancy, occupancy_err = phase_probabilities(gaps, frames, chains, config)
    gaps = gaps.assign(occupancy=occupancy, occupancy_err=occupancy_err)
    gaps["phase"] = [int(STATES[k]) for k in probability.argmax(axis=1)] if len(gaps) else []
    return _Judged(row_id, chains, gaps, probability)


def _no_frames(n: int) -> Frames:
    return Frames(np.full((n, 2), np.nan), np.full(n, np.nan), np.full(n, -1), ())


def _stopped(checks: list[Check]) -> bool:
    return any(check.verdict is Verdict.STOP for check in checks)


def _mean_frames(frames: Frames) -> tuple[LatticeFrame, ...]:
    """Mean row and stacking vectors of each domain."""
    out = []
    for k in range(len(frames.shift_offset)):
        mine = frames.domain == k
        row = frames.typical_row(k)
        stack = 0.5 * float(np.median(frames.layer_nm[mine])) * unit_across(row)
        out.append(LatticeFrame((row[0], row[1]), (stack[0], stack[1]), int(mine.sum())))
    return tuple(out)


def _column_phases(
    columns: Columns, row_id: np.ndarray, gaps: pd.DataFrame, probability: np.ndarray, labels: np.ndarray
) -> pd.DataFrame:
    """Phase and evidence of each column: those of the gaps that it bounds or fills, its label that of its pixel."""
    shares, shift, occupancy, occupancy_err = _evidence(columns, gaps, probability)
    # A detection outside the crystal outline is a column of no phase.
    out = pd.DataFrame({"phase": at_nearest_pixels(labels, columns.yx_px).astype(int)})
    for k, name in enumerate(PROBABILITY_FIELDS):
        out[name] = shares[:, k]
    out["row_id"] = row_id
    out["stacking_shift"] = shift
    out["interlayer_occupancy"] = occupancy
    out["interlayer_occupancy_err"] = occupancy_err
    return out


def _evidence(
    columns: Columns, gaps: pd.DataFrame, probability: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Mean posterior, shift, occupancy and its error of the gap nearest to each column, NaN where there is none."""
    n = len(columns)
    nothing = np.full(n, np.nan)
    shares = np.zeros((n, len(STATES)))
    shares[:, -1] = 1.0
    if len(gaps) == 0 or n == 0:
        return shares, nothing, nothing, nothing
    centre = 0.5 * (columns.yx_nm[gaps["lower"]] + columns.yx_nm[gaps["upper"]])
    distance, nearest = cKDTree(centre).query(columns.yx_nm)
    near = distance < REACH_NM
    shares[near] = probability[nearest[near]]

    def take(name: str) -> np.ndarray:
        return np.where(near, gaps[name].to_numpy(dtype=float)[nearest], np.nan)

    return shares, take("shift"), take("occupancy"), take("occupancy_err")
