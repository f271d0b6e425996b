"""Settings of the cohort statistics."""

from dataclasses import dataclass

from atomseg.errors import ConfigError
from atomseg.types import StageConfig

# Outcomes that may be tested; the others are described only.
TESTABLE = ("restricted_mean", "median", "rocksalt", "o1", "fault_density", "layered", "unresolved")


@dataclass(frozen=True, kw_only=True)
class CohortConfig(StageConfig):
    """Settings of `cohort_statistics`.

    Parameters
    ----------
    level : float
        Level of every interval and band.
    resamples : int
        Bootstrap resamples of the particles.
    permutations : int
        Most rearrangements of particles that a test looks at; when there are no more than these it looks at all of
        them (8 against 8 particles: 12870) and is exact.
    least_particles : int
        Groups with fewer particles are described only: no interval, no test.
    tau_nm : float or None
        Common depth of the restricted means, nm; None takes the smallest depth that the groups can see to.
    tested : tuple of str
        Outcomes that are tested; Holm's correction counts them. Name fewer before you look, and less is lost to it.
    seed : int
        Seed of the resampling.
    """

    level: float = 0.90
    resamples: int = 2000
    permutations: int = 20000
    least_particles: int = 3
    tau_nm: float | None = None
    tested: tuple[str, ...] = ("restricted_mean", "median", "rocksalt", "o1", "fault_density")
    seed: int = 0

    def __post_init__(self) -> None:
        for name, low, high in (
            ("level", 0.5, 0.999),
            ("resamples", 100, 100_000),
            ("permutations", 100, 1_000_000),
            # Two particles have no spread to speak of, and their smallest possible p-value is 1/3.
            ("least_particles", 3, 1000),
            ("seed", 0, 2**63 - 1),
        ):
            value = getattr(self, name)
            if not low <= value <= high:
                raise ConfigError(f"cohort.{name} = {value} is outside {low} to {high}")
        if self.tau_nm is not None and not 0.1 <= self.tau_nm <= 1000.0:
            raise ConfigError(f"cohort.tau_nm = {self.tau_nm} is outside 0.1 to 1000")
        unknown = [name for name in self.tested if name not in TESTABLE]
        if unknown:
            raise ConfigError(f"cohort.tested = {unknown[0]!r}: allowed are {', '.join(TESTABLE)}")
