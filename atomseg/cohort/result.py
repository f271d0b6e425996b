"""What the cohort statistics say; plain and frozen, ready for JSON and for drawing."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

SCHEMA = "atomseg.cohort/1"

Bound = Literal["", "beyond_view", "below_detection"]


@dataclass(frozen=True)
class Counts:
    """How much stands behind a number; the first that is not 1 from the left is what counts.

    Parameters
    ----------
    samples, particles, images, surfaces, points : int
        Distinct samples, particles, micrographs, surfaces and surface points.
    right_censored : float or None
        Share of the points that are lower bounds; None for outcomes that are not thicknesses.
    left_censored : float or None
        Share of the points without a layer, or one below the detection limit.
    """

    samples: int
    particles: int
    images: int
    surfaces: int
    points: int
    right_censored: float | None
    left_censored: float | None


@dataclass(frozen=True)
class OutcomeEstimate:
    """One outcome of one group and kind of surface.

    Parameters
    ----------
    outcome : str
        ``median``, ``p25``, ``p75``, ``restricted_mean``, ``beyond_5nm``, ``beyond_20nm`` of the thickness;
        ``layered``, ``rocksalt``, ``o1``, ``unresolved`` as share of the crystal; ``fault_density``;
        ``median_if_ended`` and ``median_if_doubled``, the median if every censored layer ended where it left the view,
        and at twice that depth.
    unit : str
        ``nm``, ``share`` or ``1/nm``.
    estimate : float or None
        Each particle counts equally. None when so much is censored that the view ends first, or nothing was measured.
    lower, upper : float or None
        Cluster-bootstrap interval over particles; None where there is none or it is open.
    bound : str
        ``beyond_view``: the estimate lies beyond `lower`, where the view ends; ``below_detection``: between 0 and
        `upper`; empty otherwise.
    counts : Counts
        What stands behind it.
    """

    outcome: str
    unit: str
    estimate: float | None
    lower: float | None
    upper: float | None
    bound: Bound
    counts: Counts


@dataclass(frozen=True)
class ThicknessCurve:
    """Share of the surface whose layer goes beyond a depth (Kaplan-Meier), at evenly spaced depths.

    Parameters
    ----------
    depth_nm, beyond : tuple of float
        The curve.
    lower, upper : tuple of float or None
        Pointwise band; None below the least number of particles.
    particles_in_view : tuple of int
        Particles that still have points in view at each depth.
    detection_nm : float
        Below this depth a layer can not be told from none.
    follow_up_nm : float
        Depth to which at least half of the particles can be seen.
    """

    depth_nm: tuple[float, ...]
    beyond: tuple[float, ...]
    lower: tuple[float, ...] | None
    upper: tuple[float, ...] | None
    particles_in_view: tuple[int, ...]
    detection_nm: float
    follow_up_nm: float


@dataclass(frozen=True)
class ParticleValues:
    """One particle: what the statistics rest on.

    Parameters
    ----------
    particle, sample : str
        Names.
    images, points : int
        Micrographs with surfaces of this kind (or, without any, micrographs), and surface points.
    right_censored : float or None
        Share of the points that are lower bounds.
    view_nm : float or None
        Depth to which it can be seen at all, nm.
    values : dict
        Outcome by name; None where it is not reached or not measured.
    """

    particle: str
    sample: str
    images: int
    points: int
    right_censored: float | None
    view_nm: float | None
    values: dict[str, float | None]


@dataclass(frozen=True)
class GroupStatistics:
    """One group and one kind of surface; kinds are never pooled.

    Parameters
    ----------
    group : str
        Values of the grouping columns, joined by `` / ``.
    surface_kind : str
        ``outer``, ``crack`` and so on; ``unknown``; for phase fractions also ``mixed`` (several kinds in one
        micrograph) and ``none`` (no surface in view).
    descriptive_only : bool
        Fewer particles than the least: no interval and no test.
    outcomes : tuple of OutcomeEstimate
        One each.
    curve : ThicknessCurve or None
        None without surface points.
    particles : tuple of ParticleValues
        One each.
    facet_deg : tuple of float or None
        Quartiles of the facet angle over the points; groups of other facets are not like with like.
    reasons : dict
        Number of censored points by reason.
    """

    group: str
    surface_kind: str
    descriptive_only: bool
    outcomes: tuple[OutcomeEstimate, ...]
    curve: ThicknessCurve | None
    particles: tuple[ParticleValues, ...]
    facet_deg: tuple[float, float, float] | None
    reasons: dict[str, int]

    def outcome(self, name: str) -> OutcomeEstimate | None:
        """The outcome of a name; None when this group does not have it."""
        return next((entry for entry in self.outcomes if entry.outcome == name), None)


@dataclass(frozen=True)
class Difference:
    """First minus second: two groups at one kind of surface, or two kinds of surface of one group.

    Parameters
    ----------
    outcome, unit : str
        As in `OutcomeEstimate`.
    first, second : tuple of str
        (group, surface kind).
    estimate, lower, upper : float or None
        Difference and its cluster-bootstrap interval; None where open or not reached.
    p_value : float or None
        Two-sided permutation test over particles; None for "descriptive only".
    p_holm : float or None
        The same after Holm's correction over the tested outcomes of this pair.
    test : str
        ``exact permutation``, ``Monte Carlo permutation``, ``exact sign flips``, ``Monte Carlo sign flips`` (particles
        that show both kinds), or ``descriptive only``.
    rearrangements : int
        How many the test looked at.
    particles : tuple of int
        Number of particles on either side.
    """

    outcome: str
    unit: str
    first: tuple[str, str]
    second: tuple[str, str]
    estimate: float | None
    lower: float | None
    upper: float | None
    p_value: float | None
    p_holm: float | None
    test: str
    rearrangements: int
    particles: tuple[int, int]


@dataclass(frozen=True)
class CohortStatistics:
    """Everything: groups, differences, what was left out, and how to get it again.

    Parameters
    ----------
    schema : str
        Name and version of this format.
    level : float
        Level of every interval.
    tau_nm : float or None
        Common depth of the restricted means.
    group_by : tuple of str
        Columns that make the groups.
    groups : tuple of GroupStatistics
        Sorted by group, then kind of surface.
    differences : tuple of Difference
        All pairs of groups at each kind of surface, then pairs of kinds in each group.
    notes : tuple of str
        Sentences to read before the numbers.
    rows_without_result, results_without_row : tuple of str
        Of the manifest; empty when the folder tree made the groups.
    settings : dict
        `CohortConfig`, its seed included.
    packages : dict
        Versions of what computed this.
    """

    schema: str
    level: float
    tau_nm: float | None
    group_by: tuple[str, ...]
    groups: tuple[GroupStatistics, ...]
    differences: tuple[Difference, ...]
    notes: tuple[str, ...]
    rows_without_result: tuple[str, ...]
    results_without_row: tuple[str, ...]
    settings: dict[str, Any]
    packages: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """Plain mappings, lists and numbers, ready for JSON."""
        return dataclasses.asdict(self)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> "CohortStatistics":
        """The statistics that `as_dict` gave, as read back from cohort.json.

        Raises
        ------
        OutputError
            If the content is not that of a cohort.json.
        """
        from pydantic import TypeAdapter, ValidationError

        from atomseg.errors import OutputError

        if content.get("schema") != SCHEMA:
            raise OutputError(f"schema is {content.get('schema')!r}; this version reads {SCHEMA!r}")
        try:
            return TypeAdapter(cls).validate_python(dict(content))
        except ValidationError as exc:
            first = exc.errors()[0]
            where = ".".join(str(part) for part in first["loc"])
            raise OutputError(f"cohort.json is damaged at {where}: {first['msg']}; say `atomseg report` again") from exc
