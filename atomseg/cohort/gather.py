"""Measurements and labels brought together as two tables: surface points and micrographs."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from atomseg.cohort.manifest import UNKNOWN_KIND, Assignment, Label, plain_kind
from atomseg.io import MeasuredResult

# An end of a layer counts as seen where a row of certainly layered crystal follows it before the view ends, and the
# front itself takes up a row. See docs/thickness.md.
END_ROWS_NM = 0.5
PHASES = ("layered", "rocksalt", "o1", "unresolved")
POINT_FIELDS = (
    "group", "sample", "particle", "image", "surface", "surface_kind",
    "thickness_nm", "event", "available_nm", "detection_nm", "facet_deg", "reason",
)  # fmt: skip
IMAGE_FIELDS = (
    "group", "sample", "particle", "image", "surface_kind", *PHASES, "fault_length_nm", "crystal_nm2",
)  # fmt: skip


@dataclass(frozen=True)
class Observations:
    """What was seen, with the hierarchy sample, particle, image, surface, point.

    Parameters
    ----------
    points : pandas.DataFrame
        One row a surface point, `POINT_FIELDS`. `available_nm` is the depth to which an end would have been told, and
        no layer is followed beyond it.
    images : pandas.DataFrame
        One row a micrograph whose phases were judged, `IMAGE_FIELDS`. Its kind of surface is ``mixed`` where it shows
        several and ``none`` where it shows no surface.
    assignment : Assignment
        Where the labels come from, and what did not fit.
    notes : tuple of str
        Sentences for a person.
    """

    points: pd.DataFrame
    images: pd.DataFrame
    assignment: Assignment
    notes: tuple[str, ...] = ()


def gather(results: Sequence[MeasuredResult], assignment: Assignment) -> Observations:
    """Tables of all labelled results.

    Parameters
    ----------
    results : sequence of MeasuredResult
        From `atomseg.io.read_measured`.
    assignment : Assignment
        From `assign_by_manifest` or `assign_by_folder`.
    """
    labelled = [(result, assignment.labels[result.folder]) for result in results if result.folder in assignment.labels]
    tables, images, disagreeing = [], [], 0
    for result, label in labelled:
        table, differing = _points(result, label)
        disagreeing += differing
        tables.append(table)
        if result.judged and result.phase_fractions:
            images.append(_image_row(result, label, table))
    empty = pd.DataFrame({name: pd.Series(dtype=object) for name in POINT_FIELDS})
    filled = [table for table in tables if len(table)]
    points = pd.concat(filled, ignore_index=True) if filled else empty
    notes = [*assignment.notes, *_notes(labelled, disagreeing)]
    return Observations(points, pd.DataFrame(images, columns=list(IMAGE_FIELDS)), assignment, tuple(notes))


def _particle(label: Label) -> str:
    return label.particle if label.sample == label.group else f"{label.sample}: {label.particle}"


def _image(result: MeasuredResult) -> str:
    """What is one micrograph: frames of one file are, arrays of one name need not be."""
    return f"{result.path}#{result.sha256[:16]}"


def usable_view_nm(available_nm: np.ndarray) -> np.ndarray:
    """Depth to which an end of the layer would have counted as seen, for a view that ends at `available_nm`.

    An end deeper than this is written as a lower bound, at the depth of the end. To Kaplan-Meier that looks like a view
    that happens to end where the layer does, and thick layers would come out thicker than they are; so the bound is put
    where it does not depend on the layer, and ends beyond it count as not seen. (Behind a patchy layer more bulk is
    asked for, by the size of the patches: those bounds stay where they are, and make such groups come out thicker by up
    to a patch where many of their ends are near the border.)
    """
    return np.maximum(available_nm - END_ROWS_NM, 0.0)


def _points(result: MeasuredResult, label: Label) -> tuple[pd.DataFrame, int]:
    """Rows of one result, and for how many of its surfaces the table and the manifest name different kinds."""
    table = result.points[np.isfinite(result.points["thickness_nm"])]
    surface = table["surface_id"].astype(int)
    told = surface.map(lambda k: label.kinds.get(k, label.kinds.get(-1, UNKNOWN_KIND)))
    measured = table["surface_kind"].map(plain_kind) if "surface_kind" in table else told
    known = measured != UNKNOWN_KIND
    differing = surface[known & (told != UNKNOWN_KIND) & (told != measured)].nunique()
    thickness, event = table["thickness_nm"].to_numpy(float), table["event"].to_numpy(float) > 0
    reason = table["reason"].to_numpy(object) if "reason" in table else np.full(len(table), "", object)
    if "available_nm" in table:
        view = usable_view_nm(table["available_nm"].to_numpy(float))
        reason = np.where((thickness > view) & (reason == ""), "end_of_view", reason)
        thickness, event = np.minimum(thickness, view), event & (thickness <= view)
    else:
        # All that is known of the view is that it reaches as deep as the layer was followed.
        view = np.where(event, np.maximum(thickness, result.detection_nm), thickness)
    rows = pd.DataFrame(
        {
            "group": label.group,
            "sample": label.sample,
            "particle": _particle(label),
            "image": _image(result),
            "surface": [f"{result.folder}#{k}" for k in surface],
            "surface_kind": measured.where(known, told).to_numpy(object),
            "thickness_nm": thickness,
            "event": event,
            "available_nm": view,
            "detection_nm": result.detection_nm,
            "facet_deg": table["facet_deg"].to_numpy(float) if "facet_deg" in table else np.nan,
            "reason": reason,
        }
    )
    return rows, int(differing)


def _image_row(result: MeasuredResult, label: Label, points: pd.DataFrame) -> dict[str, object]:
    kinds = sorted(set(points["surface_kind"]))
    return {
        "group": label.group,
        "sample": label.sample,
        "particle": _particle(label),
        "image": _image(result),
        "surface_kind": "none" if not kinds else kinds[0] if len(kinds) == 1 else "mixed",
        **{name: result.phase_fractions.get(name, 0.0) for name in PHASES},
        "fault_length_nm": result.fault_length_nm,
        "crystal_nm2": result.crystal_nm2,
    }


def _notes(labelled: Sequence[tuple[MeasuredResult, Label]], disagreeing: int) -> list[str]:
    notes = []
    if disagreeing:
        notes.append(
            f"{_many(disagreeing, 'surface is', 'surfaces are')} of another kind in thickness.csv, which was measured, "
            "than in the manifest: thickness.csv was used"
        )
    unjudged = Counter(label.group for result, label in labelled if not result.judged)
    if unjudged:
        told = _many(unjudged.total(), "micrograph was", "micrographs were")
        where = ", ".join(f"{n} of {group}" for group, n in sorted(unjudged.items()))
        notes.append(f"{told} not fit to be judged ({where}); phases there are left out")
    homes: dict[str, set[tuple[str, str]]] = {}
    for result, label in labelled:
        homes.setdefault(result.sha256, set()).add((label.group, _particle(label)))
    copies = Counter(len(home) > 1 for home in homes.values())[True]
    if copies:
        told = _many(copies, "micrograph has", "micrographs have")
        notes.append(f"{told} the same content as one of another particle: was a file copied?")
    return notes


def _many(n: int, one: str, more: str) -> str:
    return f"{n} {one if n == 1 else more}"
