"""Fitness checks: a value, a verdict and a sentence."""

from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    """What a check says: go on, go on with a warning, or deliver columns but judge no phase."""

    OK = "ok"
    WARN = "warn"
    STOP = "stop"


@dataclass(frozen=True)
class Check:
    """One fitness check of a micrograph.

    Parameters
    ----------
    name : str
        Short identifier in snake_case, e.g. ``lattice``.
    value : float or str or None
        What was measured; None when it could not be measured.
    verdict : Verdict
        Its consequence.
    message : str
        One sentence for a person; empty when the verdict is ok and there is nothing to say.
    """

    name: str
    value: float | str | None
    verdict: Verdict
    message: str = ""
