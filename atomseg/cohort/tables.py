"""The statistics as files and as text: cohort.json, cohort.csv, cohort_differences.csv, and lines for a terminal."""

import csv
import io
import json
from collections.abc import Iterable, Sequence

from atomseg.cohort.difference import DESCRIPTIVE
from atomseg.cohort.result import CohortStatistics, Difference, OutcomeEstimate
from atomseg.io.summary import json_ready

COHORT_FIELDS = (
    "group", "surface_kind", "outcome", "unit", "estimate", "lower", "upper", "level", "bound", "status",
    "samples", "particles", "images", "surfaces", "points", "right_censored", "left_censored", "tau_nm",
)  # fmt: skip
DIFFERENCE_FIELDS = (
    "first_group", "first_surface_kind", "second_group", "second_surface_kind", "outcome", "unit", "estimate", "lower",
    "upper", "level", "p_value", "p_holm", "test", "rearrangements", "first_particles", "second_particles", "tau_nm",
)  # fmt: skip
# What the terminal shows; the files have everything.
_SHOWN = ("median", "restricted_mean", "rocksalt", "o1", "fault_density")

Cell = str | int | float | None


def cohort_files(statistics: CohortStatistics) -> dict[str, bytes]:
    """Content by file name."""
    text = json.dumps(json_ready(statistics.as_dict()), indent=1, ensure_ascii=False, allow_nan=False)
    return {
        "cohort.json": f"{text}\n".encode(),
        "cohort.csv": _csv(COHORT_FIELDS, _group_rows(statistics)),
        "cohort_differences.csv": _csv(DIFFERENCE_FIELDS, _difference_rows(statistics)),
    }


def cohort_text(statistics: CohortStatistics) -> str:
    """Groups, differences and notes as lines for a terminal, every number with what stands behind it."""
    percent = f"{100 * statistics.level:.0f} %"
    head = ["group", "surface", "particles", "images", "points", "censored"]
    lines = [[*head, *_SHOWN]]
    for group in statistics.groups:
        first = group.outcome("median") or group.outcomes[0]
        n = first.counts
        censored = "-" if n.right_censored is None else f"{100 * n.right_censored:.0f} %"
        told = [group.group, group.surface_kind, str(n.particles), str(n.images), str(n.points), censored]
        lines.append([*told, *(estimate_text(group.outcome(name)) for name in _SHOWN)])
    parts = ["\n".join(_aligned(lines))]
    tau = "" if statistics.tau_nm is None else f"; restricted means to {statistics.tau_nm:.1f} nm"
    parts.append(f"{percent} intervals over particles, each particle counts the same{tau}")
    tested = [_difference_cells(d) for d in statistics.differences if d.outcome in _SHOWN and d.test != DESCRIPTIVE]
    if tested:
        parts.append("\n".join(_aligned(tested)))
    parts += [f"note: {note}" for note in statistics.notes]
    return "\n".join(parts)


def estimate_text(entry: OutcomeEstimate | None) -> str:
    """One outcome in words: estimate with its interval, or the bound that is all that is known."""
    if entry is None:
        return "-"
    unit = "" if entry.unit == "share" else f" {entry.unit}"
    if entry.bound == "beyond_view":
        return f"> {_short(entry.lower)}{unit}"
    if entry.bound == "below_detection":
        return f"< {_short(entry.upper)}{unit}"
    text = f"{_short(entry.estimate)}{unit}"
    if entry.lower is None and entry.upper is None:
        return text
    return f"{text} [{_short(entry.lower)}, {_short(entry.upper)}]"


def difference_text(difference: Difference) -> str:
    """One difference in words, with its test."""
    unit = "" if difference.unit == "share" else f" {difference.unit}"
    text = "not reached" if difference.estimate is None else f"{difference.estimate:+.3g}{unit}"
    if difference.lower is not None or difference.upper is not None:
        text += f" [{_short(difference.lower)}, {_short(difference.upper)}]"
    if difference.p_value is None:
        return f"{text}, {difference.test}"
    return f"{text}, p = {difference.p_value:.3g}, Holm {difference.p_holm:.3g} ({difference.test})"


def _difference_cells(difference: Difference) -> list[str]:
    (group_a, kind_a), (group_b, kind_b) = difference.first, difference.second
    same = kind_a == kind_b
    who = f"{group_a} - {group_b}, {kind_a}" if same else f"{group_a}: {kind_a} - {kind_b}"
    n_a, n_b = difference.particles
    return [who, difference.outcome, f"n = {n_a}, {n_b}", difference_text(difference)]


def _short(value: float | None) -> str:
    return "open" if value is None else f"{value:.3g}"


def _aligned(lines: Sequence[Sequence[str]]) -> list[str]:
    if not lines:
        return []
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    return ["  ".join(map(str.ljust, line, widths)).rstrip() for line in lines]


def _group_rows(statistics: CohortStatistics) -> Iterable[Sequence[Cell]]:
    for group in statistics.groups:
        for e in group.outcomes:
            status = DESCRIPTIVE if e.lower is None and e.upper is None and group.descriptive_only else ""
            n = e.counts
            yield (
                group.group, group.surface_kind, e.outcome, e.unit, e.estimate, e.lower, e.upper, statistics.level,
                e.bound, status, n.samples, n.particles, n.images, n.surfaces, n.points, n.right_censored,
                n.left_censored, statistics.tau_nm,
            )  # fmt: skip


def _difference_rows(statistics: CohortStatistics) -> Iterable[Sequence[Cell]]:
    for d in statistics.differences:
        yield (
            *d.first, *d.second, d.outcome, d.unit, d.estimate, d.lower, d.upper, statistics.level, d.p_value, d.p_holm,
            d.test, d.rearrangements, *d.particles, statistics.tau_nm,
        )  # fmt: skip


def _csv(fields: Sequence[str], rows: Iterable[Sequence[Cell]]) -> bytes:
    stream = io.StringIO()
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(fields)
    for row in rows:
        writer.writerow([f"{cell:.6g}" if isinstance(cell, float) else "" if cell is None else cell for cell in row])
    return stream.getvalue().encode()
