"""The table of a finished fit: what is known of every column, in the image's own units."""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from atomseg.localize.errors import covariances
from atomseg.localize.flagged import flag_columns
from atomseg.localize.jitter import line_jitter
from atomseg.localize.model import AMPLITUDE, N_PARAMETERS, P_XX, P_YX, P_YY
from atomseg.localize.normal import Problem, add_prior, normal_equations
from atomseg.localize.solve import Solved
from atomseg.localize.speckle import shared_noise
from atomseg.localize.tails import under
from atomseg.localize.windows import FWHM_PER_SIGMA, Canvas
from atomseg.types import Columns
from atomseg.units import PM_PER_NM

# A column that still moves when the rounds are used up has this many of its last steps to go: steps of strongly
# overlapping columns (blurred images) shrink by about a fifth a round. That distance is an error of its own...
REMAINING_STEPS = 4.0
# ...and beyond this the fit has not found the column.
UNSETTLED_NM = 0.02
LOW_SNR = 3.0
# A position error goes with one over the amplitude, which is itself known to a relative error e only. That makes the
# tails of error over claimed error heavier: exp(-t) becomes exp(-t) (1 + (2 t² - 3 t) e²), and for 90 % ellipses,
# t = ln 10, the variance has to be larger by 1 + (2 t - 3) e².
UNSURE_AMPLITUDE = 1.6


@dataclass(frozen=True)
class Seen:
    """What a fit's image was made of.

    Parameters
    ----------
    canvas : Canvas
        The image as measured, without offset and scale.
    offset, scale : float
        Detector units: measured = canvas * scale + offset.
    tail : Canvas
        Tails of columns, which were taken out before the fit.
    """

    canvas: Canvas
    offset: float
    scale: float
    tail: Canvas


def describe(
    problem: Problem, solved: Solved, seen: Seen, *, probability: np.ndarray, seed_sigma_nm: np.ndarray
) -> Columns:
    """The table of a finished fit: positions without line jitter, errors, shapes, flags.

    Parameters
    ----------
    problem : Problem
        Image, windows, weights, prior.
    solved : Solved
        The end of the joint fit.
    seen : Seen
        What the image was made of.
    probability : numpy.ndarray
        (N,) detection probability.
    seed_sigma_nm : numpy.ndarray
        (N, 2) error of the starting positions, nm: what a failed column is given.
    """
    fit = solved.fit
    everything = torch.arange(len(fit), device=fit.yx_nm.device)
    normal = normal_equations(problem, fit, solved.left, everything)
    with_prior = add_prior(normal, fit, problem.prior)
    unrest_nm = REMAINING_STEPS * solved.unrest_nm.double().cpu().numpy()
    # Where a window holds no more valid pixels than parameters the curvature tells nothing.
    failed = solved.failed.cpu().numpy() | (unrest_nm > UNSETTLED_NM) | (normal.pixels <= N_PARAMETERS).cpu().numpy()
    settled = torch.from_numpy(~failed).to(fit.yx_nm.device)
    jitter = line_jitter(problem, fit, solved.left, with_prior, settled)
    covariance = covariances(problem, fit, with_prior)
    excess = _misfit(normal.chi2, normal.pixels)
    variance = (torch.diagonal(covariance, dim1=1, dim2=2).clamp_min(0.0) * excess[:, None]).cpu().numpy()
    shared = shared_noise(problem, solved)
    variance[:, :2] *= shared.position
    variance[:, 2] *= shared.amplitude
    relative = np.sqrt(variance[:, 2]) / np.maximum(fit.get(AMPLITUDE).double().cpu().numpy(), 1e-6)
    variance[:, :2] *= 1.0 + UNSURE_AMPLITUDE * np.minimum(relative, 1.0)[:, None] ** 2
    yx_nm = np.where(solved.failed.cpu().numpy()[:, None], problem.seeds_nm.cpu().numpy(), fit.yx_nm.cpu().numpy())
    yx_nm = yx_nm + jitter.move_nm
    own_nm2 = variance[:, :2] * fit.unit_nm**2 + unrest_nm[:, None] ** 2
    sigma_nm = np.where(failed[:, None], seed_sigma_nm, np.sqrt(own_nm2 + jitter.variance_nm2))
    shape = fit.shape.double().cpu().numpy()
    major, minor, theta = _axes(shape, fit.unit_nm)
    amplitude_err = np.sqrt(variance[:, 2])
    table = pd.DataFrame(
        {
            "id": np.arange(len(fit)),
            "y_px": yx_nm[:, 0] / problem.canvas.step_nm[0],
            "x_px": yx_nm[:, 1] / problem.canvas.step_nm[1],
            "y_nm": yx_nm[:, 0],
            "x_nm": yx_nm[:, 1],
            "sigma_y_pm": sigma_nm[:, 0] * PM_PER_NM,
            "sigma_x_pm": sigma_nm[:, 1] * PM_PER_NM,
            "amplitude": shape[:, 0] * seen.scale,
            "background": (shape[:, 4] + under(seen.tail, fit.yx_nm)) * seen.scale + seen.offset,
            "fwhm_major_nm": major,
            "fwhm_minor_nm": minor,
            "theta_deg": theta,
            "probability": probability,
            "flags": flag_columns(problem, solved, failed, shape[:, 0] < LOW_SNR * amplitude_err, seen.canvas),
            "amplitude_err": amplitude_err * seen.scale,
        }
    )
    return Columns(table)


def _misfit(chi2: torch.Tensor, pixels: torch.Tensor) -> torch.Tensor:
    """(N,) factor of the variance of columns that fit worse than noise explains (beyond three sigma of chi²)."""
    freedom = (pixels - 7).clamp_min(1).double()
    reduced = chi2.double() / freedom
    return torch.where(reduced > 1.0 + 3.0 * torch.sqrt(2.0 / freedom), reduced, torch.ones_like(reduced))


def _axes(shape: np.ndarray, unit_nm: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Full widths along major and minor axis (nm) and angle of the major axis from +x towards +y (degrees)."""
    a, c, b = shape[:, P_YY - 2], shape[:, P_XX - 2], shape[:, P_YX - 2]
    mean, spread = 0.5 * (a + c), np.hypot(0.5 * (a - c), b)
    major = FWHM_PER_SIGMA * unit_nm / np.sqrt(mean - spread)
    minor = FWHM_PER_SIGMA * unit_nm / np.sqrt(mean + spread)
    # The covariance is [[c, -b], [-b, a]] / det in (y, x), and tan(2 theta) = 2 cov_yx / (cov_xx - cov_yy).
    theta = 0.5 * np.degrees(np.arctan2(-2.0 * b, a - c))
    return major, minor, np.mod(theta, 180.0)
