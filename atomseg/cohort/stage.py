"""The cohort stage: tables of observations in, groups and their differences out."""

import dataclasses
import itertools
import zlib
from collections.abc import Sequence

import numpy as np

from atomseg.cohort.config import CohortConfig
from atomseg.cohort.difference import Side, compare
from atomseg.cohort.gather import Observations
from atomseg.cohort.group import Stratum, group_statistics
from atomseg.cohort.result import SCHEMA, CohortStatistics, GroupStatistics

# Kinds of surface that say where a micrograph was taken; two of them are worth comparing within a group.
_NO_KIND = frozenset({"unknown", "mixed", "none"})
# More pairs of groups that are described only than these are nobody's to read.
_MOST_DESCRIPTIVE = 100
# Medians of facet angles further apart than this are not like with like, degrees.
_FACET_DEG = 20.0
# Share of points beyond which a reason for censoring that has to do with the layer itself is told.
_TOLD_SHARE = 0.1


def cohort_statistics(observations: Observations, config: CohortConfig) -> CohortStatistics:
    """Groups by kind of surface, with intervals over particles, and their differences with permutation tests.

    Particles are the unit: intervals resample them whole, tests exchange them whole. Kinds of surface are never pooled.

    Parameters
    ----------
    observations : Observations
        From `gather`.
    config : CohortConfig
        Settings, the seed among them. Every group and pair has random numbers of its own, so that a further group
        moves no interval of another.
    """
    strata, left_out = _strata(observations)
    tau_nm = config.tau_nm or _common_view(strata, config.least_particles)
    sides = {_names(s): Side(s.group, s.kind, s.outcomes(tau_nm)) for s in strata}
    groups = tuple(
        group_statistics(s, sides[_names(s)].outcomes, tau_nm, config, _generator(config.seed, *_names(s)))
        for s in strata
    )
    pairs, dropped = _pairs(strata, config.least_particles)
    differences = tuple(
        d
        for a, b in pairs
        for d in compare(sides[_names(a)], sides[_names(b)], config, _generator(config.seed, *_names(a), *_names(b)))
    )
    notes = (*observations.notes, *_notes(groups, strata, left_out, config))
    if dropped:
        notes = (*notes, f"differences of {dropped} pairs with few particles are not listed")
    assignment = observations.assignment
    return CohortStatistics(
        schema=SCHEMA,
        level=config.level,
        tau_nm=tau_nm,
        group_by=assignment.group_by,
        groups=groups,
        differences=differences,
        notes=notes,
        rows_without_result=assignment.rows_without_result,
        results_without_row=assignment.results_without_row,
        settings={**dataclasses.asdict(config), "tested": list(config.tested)},
        packages=_packages(),
    )


def _strata(observations: Observations) -> tuple[list[Stratum], int]:
    """Groups by kind of surface, and how many points are left out because their ray left the view at once."""
    points, images = observations.points, observations.images
    keys = {
        (str(g), str(k))
        for table in (points, images)
        for g, k in zip(table["group"], table["surface_kind"], strict=True)
    }
    strata, left_out = [], 0
    for group, kind in sorted(keys):
        own = points[(points["group"] == group) & (points["surface_kind"] == kind)]
        # A view that ends above the detection limit says nothing, whatever the thickness: leaving it out is no bias.
        seen = own[own["available_nm"] >= own["detection_nm"].max()]
        left_out += len(own) - len(seen)
        shown = images[(images["group"] == group) & (images["surface_kind"] == kind)]
        if len(seen) or len(shown):
            strata.append(Stratum(group, kind, seen, shown))
    return strata, left_out


def _common_view(strata: Sequence[Stratum], least: int) -> float | None:
    """Smallest depth that the groups can see to; groups that are described only do not shorten it for the others."""
    views = [s.follow_up_nm for s in strata if s.n_particles >= least and len(s.points)]
    views = views or [s.follow_up_nm for s in strata if len(s.points)]
    return min(views) if views else None


def _pairs(strata: Sequence[Stratum], least: int) -> tuple[list[tuple[Stratum, Stratum]], int]:
    """Groups of the same kind of surface, then kinds of surface of the same group; and how many are left out."""
    pairs = list(itertools.combinations(strata, 2))
    groups = [(a, b) for a, b in pairs if a.kind == b.kind]
    kinds = [(a, b) for a, b in pairs if a.group == b.group and not {a.kind, b.kind} & _NO_KIND]
    chosen = [*sorted(groups, key=lambda pair: pair[0].kind), *kinds]
    enough = [pair for pair in chosen if min(pair[0].n_particles, pair[1].n_particles) >= least]
    if len(chosen) - len(enough) <= _MOST_DESCRIPTIVE:
        return chosen, 0
    return enough, len(chosen) - len(enough)


def _names(stratum: Stratum) -> tuple[str, str]:
    return stratum.group, stratum.kind


def _generator(seed: int, *names: str) -> np.random.Generator:
    return np.random.default_rng([seed, *(zlib.crc32(name.encode()) for name in names)])


def _packages() -> dict[str, str]:
    from importlib.metadata import version

    from atomseg._version import __version__

    return {"atomseg": __version__, **{name: version(name) for name in ("lifelines", "numpy", "scipy", "statsmodels")}}


def _notes(
    groups: Sequence[GroupStatistics], strata: Sequence[Stratum], left_out: int, config: CohortConfig
) -> list[str]:
    notes = []
    few = [f"{g.group}, {g.surface_kind}" for g in groups if g.descriptive_only]
    if few:
        notes.append(
            f"descriptive only, fewer than {config.least_particles} particles: {'; '.join(few)}. No intervals and tests"
        )
    if left_out:
        notes.append(f"{left_out} surface points whose view ends above the detection limit are left out")
    if any(s.kind == "unknown" and len(s.points) for s in strata):
        notes.append("some surfaces are of unknown kind; they are kept apart. Say outer or crack in the manifest")
    notes += [
        f"{s.group}: particles of {n} samples are resampled as if of one population"
        for s in strata
        if (n := s.points["sample"].nunique()) > 1
    ]
    notes += [text for g in groups if (text := _informative(g))]
    notes += _facet_notes(groups)
    return list(dict.fromkeys(notes))


def _informative(group: GroupStatistics) -> str | None:
    total = sum(particle.points for particle in group.particles)
    told = {k: n for k, n in group.reasons.items() if k != "field_of_view" and total and n > _TOLD_SHARE * total}
    if not told:
        return None
    reasons = ", ".join(f"{k.replace('_', ' ')} {100 * n / total:.0f} %" for k, n in told.items())
    return (
        f"{group.group}, {group.surface_kind}: many points are censored by the crystal itself ({reasons}); where "
        "that goes with thickness, Kaplan-Meier is biased. Compare median_if_ended and median_if_doubled in cohort.csv"
    )


def _facet_notes(groups: Sequence[GroupStatistics]) -> list[str]:
    notes = []
    for kind in dict.fromkeys(g.surface_kind for g in groups):
        medians = {g.group: g.facet_deg[1] for g in groups if g.surface_kind == kind and g.facet_deg is not None}
        low, high = (pick(medians, key=lambda g: medians[g], default=None) for pick in (min, max))
        if low is None or high is None or medians[high] - medians[low] <= _FACET_DEG:
            continue
        notes.append(
            f"{kind}: median facets range from {medians[low]:.0f} ({low}) to {medians[high]:.0f} ({high}) degrees from "
            "the layers' normal; layers of one material differ between facets too"
        )
    return notes
