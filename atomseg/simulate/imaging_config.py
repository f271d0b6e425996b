"""What the imaging of a scene is drawn from: optics, background, scan, detector.

Ranges are ``(low, high)``, drawn uniformly unless the docstring says log-uniform; a fixed value is a range of no width.
Where no source is named the range is typical, without a published distribution. Defaults are the ranges of the released
models; ``configs/simulate/training.yaml`` goes further (docs/design.md).
"""

from dataclasses import dataclass
from typing import Literal

from atomseg.errors import ConfigError
from atomseg.simulate.ranges import Range, check_ranges
from atomseg.types import StageConfig


@dataclass(frozen=True, kw_only=True)
class OpticsConfig(StageConfig):
    """Column profiles: a core (probe, source, thermal) and wide tails.

    Parameters
    ----------
    core_sigma_pm : tuple of float
        Standard deviation of the core Gaussian, pm.
    ellipticity : tuple of float
        Ratio of its axes (astigmatism, vibration, mistilt); typical, no published distribution.
    tail_sigma_nm : tuple of float
        Standard deviation of the wide Gaussian, nm; multislice images are fitted equally well from 0.16 to 0.28.
    tail_per_nm : tuple of float
        Growth of the wide Gaussian's share in a column's light, 1/nm (`Profile.tail_weight`). Multislice down [100]:
        0.038 for perfect order at 200 and 300 kV, more where interlayer columns hold Ni.
    max_tail : float
        Share at which it saturates; 0.55 to 0.65 was reached at 24 nm.
    saturation_nm : tuple of float
        Thickness on which a column's core saturates by channelling, nm (`Profile.peak`; multislice: 8 to 10).
    oxygen_scale : tuple of float
        Oxygen columns relative to Z^n (multislice: 0.7 to 0.8 of Z^1.7).
    wide_sigma_pm : tuple of float
        Standard deviation of the core of badly focused or vibrating images, pm.
    p_wide : float
        Probability that the core is drawn from `wide_sigma_pm` instead.
    mistilt_mrad : tuple of float
        Angle between beam and zone axis, mrad, ever rarer towards the upper end. Signal from a depth z is displaced by
        tilt times z, which smears a column along the tilt (30 nm at 5 mrad: 0.15 nm from top to bottom).
    tilt_shift_pm_per_mrad : tuple of float
        How far a mistilt moves the lightest columns against the heavy ones along the tilt, pm per mrad (2 to 10 pm at
        15 mrad: light columns channel less and are seen deeper), in proportion to the missing signal.
    p_mistilt : float
        Probability of a mistilt.

    Notes
    -----
    The constants come from ``benchmarks/accuracy/multislice_fit.py`` (200 and 300 kV, 25 mrad, 60 to 140 mrad, sources
    of 30 to 60 pm, 2 to 24 nm); the ranges go beyond them on both sides.
    """

    core_sigma_pm: Range = (35.0, 95.0)
    ellipticity: Range = (1.0, 1.4)
    tail_sigma_nm: Range = (0.15, 0.30)
    tail_per_nm: Range = (0.030, 0.065)
    max_tail: float = 0.70
    saturation_nm: Range = (6.0, 14.0)
    oxygen_scale: Range = (0.5, 1.0)
    wide_sigma_pm: Range = (95.0, 110.0)
    p_wide: float = 0.03
    mistilt_mrad: Range = (0.0, 15.0)
    tilt_shift_pm_per_mrad: Range = (-0.7, 0.7)
    p_mistilt: float = 0.3

    def __post_init__(self) -> None:
        check_ranges(
            self,
            {
                "core_sigma_pm": (10.0, 200.0),
                "ellipticity": (1.0, 3.0),
                "tail_sigma_nm": (0.1, 1.0),
                "tail_per_nm": (0.0, 0.2),
                "max_tail": (0.0, 0.9),
                "saturation_nm": (1.0, 1000.0),
                "oxygen_scale": (0.0, 2.0),
                "wide_sigma_pm": (10.0, 300.0),
                "p_wide": (0.0, 1.0),
                "mistilt_mrad": (0.0, 50.0),
                "tilt_shift_pm_per_mrad": (-5.0, 5.0),
                "p_mistilt": (0.0, 1.0),
            },
        )


@dataclass(frozen=True, kw_only=True)
class BackgroundConfig(StageConfig):
    """Signal that is no column, in units of a TM column's peak.

    Parameters
    ----------
    level : tuple of float
        Constant level, log-uniform.
    slope : tuple of float
        Relative smooth change across the image.
    p_step : float
        Probability of a step along a straight line.
    step : tuple of float
        Height of the step.
    surface_step : tuple of float
        Height of a step at the surface, higher on the crystal's side: what lies below the crystal, log-uniform.
    p_surface_step : float
        Probability of it, where there is a surface (networks that never saw such steps fail at interfaces: Wei 2022,
        10.1093/micmic/ozac043).
    p_film : float
        Probability of an amorphous film over everything.
    film : tuple of float
        Its mean level, log-uniform.
    speckle : tuple of float
        Root-mean-square of its speckle relative to its level.
    speckle_nm : tuple of float
        Correlation length of the speckle, nm: from atoms at random places blurred by the probe alone to grains.
    p_nothing_speckle : float
        Probability that a scene without crystal has a film.
    """

    level: Range = (0.01, 2.0)
    slope: Range = (0.0, 0.5)
    p_step: float = 0.15
    step: Range = (0.05, 1.0)
    surface_step: Range = (0.1, 3.0)
    p_surface_step: float = 0.25
    p_film: float = 0.5
    film: Range = (0.02, 0.6)
    speckle: Range = (0.1, 0.5)
    speckle_nm: Range = (0.04, 0.40)
    p_nothing_speckle: float = 0.7

    def __post_init__(self) -> None:
        check_ranges(
            self,
            {
                "level": (1e-6, 50.0),
                "slope": (0.0, 1.0),
                "p_step": (0.0, 1.0),
                "step": (0.0, 20.0),
                "surface_step": (1e-6, 20.0),
                "p_surface_step": (0.0, 1.0),
                "p_film": (0.0, 1.0),
                "film": (1e-6, 20.0),
                "speckle": (0.0, 2.0),
                "speckle_nm": (0.02, 5.0),
                "p_nothing_speckle": (0.0, 1.0),
            },
        )


@dataclass(frozen=True, kw_only=True)
class ScanConfig(StageConfig):
    """Sampling and its errors.

    Parameters
    ----------
    pixel_size_nm : tuple of float
        Pixel size, nm, log-uniform.
    anisotropy : tuple of float
        Half the relative difference of the two (known) pixel sizes.
    shear : tuple of float
        Unknown shear and stretch of the image (drift, scan calibration), each drawn with either sign; typical, no
        published distribution.
    bend_nm : tuple of float
        Largest displacement by the quadratic part of the drift, nm; typical, no published distribution.
    jitter_pm : tuple of float
        Line jitter along the fast axis, pm rms; a third of it acts along the slow axis. Such errors are modelled in
        Lobato et al. 2024, 10.1038/s41524-023-01188-0; the range is typical, no published distribution.
    jitter_correlation : tuple of float
        AR(1) coefficient of the jitter from line to line; typical, no published distribution.
    wobble_pm : tuple of float
        Amplitude of mains interference, pm; typical, no published distribution.
    wobble_rows : tuple of float
        Its period, rows, log-uniform: 1/50 or 1/60 s over the time of a line.
    p_wobble : float
        Probability of it.
    flyback : tuple of float
        Largest relative stretch at the start of a line (Mullarkey 2022, Microsc. Microanal.).
    flyback_length : tuple of float
        Part of the line on which it decays.
    p_flyback : float
        Probability of it.
    jumps : tuple of int
        Sudden jumps of the image between two lines (charging, mechanical shocks), both ends included; typical, no
        published distribution.
    jump_nm : tuple of float
        Length of a jump in any direction, nm; typical, no published distribution.
    p_jump : float
        Probability of jumps.
    """

    pixel_size_nm: Range = (0.006, 0.045)
    anisotropy: Range = (0.0, 0.015)
    shear: Range = (0.0, 0.03)
    bend_nm: Range = (0.0, 0.3)
    jitter_pm: Range = (0.0, 30.0)
    jitter_correlation: Range = (0.0, 0.8)
    wobble_pm: Range = (0.0, 40.0)
    wobble_rows: Range = (3.0, 200.0)
    p_wobble: float = 0.25
    flyback: Range = (0.0, 0.1)
    flyback_length: Range = (0.02, 0.1)
    p_flyback: float = 0.25
    jumps: tuple[int, int] = (1, 2)
    jump_nm: Range = (0.02, 0.3)
    p_jump: float = 0.08

    def __post_init__(self) -> None:
        check_ranges(
            self,
            {
                "pixel_size_nm": (0.002, 0.1),
                "anisotropy": (0.0, 0.2),
                "shear": (0.0, 0.15),
                "bend_nm": (0.0, 5.0),
                "jitter_pm": (0.0, 200.0),
                "jitter_correlation": (0.0, 0.99),
                "wobble_pm": (0.0, 300.0),
                "wobble_rows": (2.0, 1e5),
                "p_wobble": (0.0, 1.0),
                "flyback": (0.0, 0.3),
                "flyback_length": (0.005, 0.5),
                "p_flyback": (0.0, 1.0),
                "jumps": (0.0, 20.0),
                "jump_nm": (0.0, 2.0),
                "p_jump": (0.0, 1.0),
            },
        )


@dataclass(frozen=True, kw_only=True)
class DetectorConfig(StageConfig):
    """Dose and detector.

    Parameters
    ----------
    counts : tuple of float
        Detected counts under the core of a full TM column, log-uniform.
    p_usual : float
        Probability that the counts are drawn from `usual_counts` instead.
    usual_counts : tuple of float
        The middle of the distribution, log-uniform.
    excess_noise : tuple of float
        Variance of the detected signal over Poisson variance (arXiv 2009.02265).
    read_noise : tuple of float
        Read noise, relative to the TM peak.
    offset : tuple of float
        Detector offset, relative to the TM peak.
    gain : tuple of float
        Image units per count, log-uniform.
    formats : tuple of str
        Pixel formats to choose from; floats stay in counts times gain.
    p_clipped : float
        Probability that an integer image is clipped.
    clipped : tuple of float
        Part of the pixels that clip.
    p_gamma : float
        Probability of a gamma (exported pictures).
    gamma : tuple of float
        Its exponent.
    p_afterglow : float
        Probability of afterglow along the fast axis.
    afterglow_px : tuple of float
        Its decay length, pixels (streaks of pulses along the fast axis: arXiv 2009.02265).
    frames : tuple of int
        Frames averaged (the counts are those of the sum).
    registration_pm : tuple of float
        Residual misregistration of averaged frames, pm: widens the columns (Jones et al. 2015,
        10.1186/s40679-015-0008-4).
    p_frames : float
        Probability that the image is an average.
    ramp : tuple of float
        Relative change of the whole signal from the first line to the last (contamination, charging, beam current).
    p_ramp : float
        Probability of it.
    filter_pm : tuple of float
        Standard deviation of a low-pass (Gaussian) filter that the user applied to the recorded image, pm.
    p_filter : float
        Probability of it.
    """

    counts: Range = (30.0, 1e5)
    p_usual: float = 0.6
    usual_counts: Range = (100.0, 1e4)
    excess_noise: Range = (1.0, 1.6)
    read_noise: Range = (0.0, 0.03)
    offset: Range = (0.0, 0.5)
    gain: Range = (0.1, 100.0)
    formats: tuple[Literal["float32", "uint16", "uint8"], ...] = ("float32", "uint16", "uint8")
    p_clipped: float = 0.1
    clipped: Range = (0.0, 0.005)
    p_gamma: float = 0.12
    gamma: Range = (0.5, 1.6)
    p_afterglow: float = 0.12
    afterglow_px: Range = (0.2, 2.0)
    frames: tuple[int, int] = (2, 40)
    registration_pm: Range = (0.0, 25.0)
    p_frames: float = 0.2
    ramp: Range = (-0.2, 0.2)
    p_ramp: float = 0.3
    filter_pm: Range = (15.0, 60.0)
    p_filter: float = 0.04

    def __post_init__(self) -> None:
        check_ranges(
            self,
            {
                "counts": (1.0, 1e8),
                "p_usual": (0.0, 1.0),
                "usual_counts": (1.0, 1e8),
                "excess_noise": (1.0, 10.0),
                "read_noise": (0.0, 1.0),
                "offset": (-1.0, 50.0),
                "gain": (1e-6, 1e6),
                "p_clipped": (0.0, 1.0),
                "clipped": (0.0, 0.2),
                "p_gamma": (0.0, 1.0),
                "gamma": (0.2, 5.0),
                "p_afterglow": (0.0, 1.0),
                "afterglow_px": (0.01, 20.0),
                "frames": (1.0, 10000.0),
                "registration_pm": (0.0, 200.0),
                "p_frames": (0.0, 1.0),
                "ramp": (-0.9, 5.0),
                "p_ramp": (0.0, 1.0),
                "filter_pm": (1.0, 500.0),
                "p_filter": (0.0, 1.0),
            },
        )
        if not self.formats:
            raise ConfigError("DetectorConfig.formats is empty; give at least one of float32, uint16, uint8")
