"""How the image was recorded: clipped pixels, filtering, dose and field of view, each as a check."""

import numpy as np
from scipy.fft import fft2

from atomseg.types import Check, Columns, Micrograph, Verdict

FWHM_PER_SIGMA = 2.3548
# A clipped image has many pixels at its very maximum, a chance maximum a few, and one of few grey levels has about as
# many at the next level.
CLIPPED_PIXELS = 20
CLIPPED_OVER_NEXT = 2.0
# The core of a column covers about a tenth of the image: at this share one column in a hundred has lost its top,
CLIPPED_WARN = 0.001
# and at this one half of them: the ratio of interlayer to TM column is then no longer that of the specimen.
CLIPPED_STOP = 0.05
# Power of the noise near Nyquist over that at two thirds of it: 1 for white noise; bilinear resampling leaves 0.2 to
# 0.5, denoising much less.
FILTERED_RATIO = 0.4
# Frequencies compared, cycles a pixel along one axis.
HIGH_BAND, MIDDLE_BAND = (0.44, 0.5), (0.28, 0.36)
LARGEST_WINDOW_PX = 1024
# Fewer effective counts than this: position errors are above 2 pm and the interlayer's amplitude is lost in noise.
FEWEST_COUNTS = 300.0
# Bounds of the thickness classes, nm.
THIN_NM, THICK_NM = 5.0, 20.0


def exposure_checks(micrograph: Micrograph, columns: Columns) -> list[Check]:
    """Checks of the recording: `saturation`, `filtered`, `dose`, `field_of_view`.

    Parameters
    ----------
    micrograph : Micrograph
        The image.
    columns : Columns
        Its columns with their standard errors.
    """
    return [
        saturation_check(micrograph),
        filter_check(micrograph),
        dose_check(columns),
        field_check(micrograph),
    ]


def saturation_check(micrograph: Micrograph) -> Check:
    """Share of pixels at the detector's ceiling; the floor is no check, since vacuum counts nothing."""
    levels = np.unique(micrograph.image)[-2:]
    top, below = (int((micrograph.image == level).sum()) for level in (levels[-1], levels[0]))
    clipped = len(levels) > 1 and top >= CLIPPED_PIXELS and top > CLIPPED_OVER_NEXT * below
    share = top / micrograph.image.size if clipped else 0.0
    value = round(share, 5)
    if share < CLIPPED_WARN:
        return Check("saturation", value, Verdict.OK)
    verdict = Verdict.STOP if share >= CLIPPED_STOP else Verdict.WARN
    end = "phases are not judged" if verdict is Verdict.STOP else "interlayer occupancies there are too high"
    return Check(
        "saturation",
        value,
        verdict,
        f"{100 * share:.2g} % of the pixels are clipped at the image's maximum, bright columns have lost their tops: "
        f"{end}; record with lower gain or export without contrast stretching",
    )


def filter_check(micrograph: Micrograph) -> Check:
    """Whether the noise still has its high frequencies.

    The value is the median power at 0.44 to 0.5 cycles a pixel over that at 0.28 to 0.36, along the axis that keeps
    more of it: afterglow and line noise act along one axis only, filters along both. Medians leave Bragg spots out.
    """
    image = micrograph.image
    h, w = (min(n, LARGEST_WINDOW_PX) for n in image.shape)
    top, left = (image.shape[0] - h) // 2, (image.shape[1] - w) // 2
    part = image[top : top + h, left : left + w].astype(np.float64)
    window = np.hanning(h)[:, None] * np.hanning(w)
    power = np.abs(fft2((part - part.mean()) * window)) ** 2
    fy, fx = np.abs(np.fft.fftfreq(h))[:, None], np.abs(np.fft.fftfreq(w))[None]
    ratios = []
    for along, across in ((fy, fx), (fx, fy)):
        high, middle = (
            np.median(power[(along >= low) & (along <= top_) & (across <= top_) & (across >= 0.1)])
            for low, top_ in (HIGH_BAND, MIDDLE_BAND)
        )
        ratios.append(float(high / middle) if middle > 0 else 0.0)
    ratio = max(ratios)
    if ratio < FILTERED_RATIO:
        return Check(
            "filtered",
            round(ratio, 4),
            Verdict.WARN,
            f"noise near the highest frequency has {ratio:.2g} of the power at two thirds of it (raw images: about 1): "
            "the image was filtered, resampled or made without noise; errors of positions and occupancies are too "
            "small and a filter can invent columns; give the raw image",
        )
    return Check("filtered", round(ratio, 4), Verdict.OK)


def dose_check(columns: Columns) -> Check:
    """Effective counts of the median column: those that would give its position error without any background.

    A Gaussian column of standard deviation s and N counts is located to s / sqrt(N). Background and scan jitter, where
    the errors hold it, make the effective number smaller than the counts.
    """
    table = columns.table
    width = np.sqrt(table["fwhm_major_nm"].to_numpy(float) * table["fwhm_minor_nm"].to_numpy(float)) / FWHM_PER_SIGMA
    counts = (width**2) / np.maximum((columns.sigma_nm**2).mean(axis=1), 1e-12)
    counts = counts[np.isfinite(counts)]
    if counts.size == 0:
        return Check("dose", None, Verdict.WARN, "no column has a position error: the dose can not be estimated")
    value = float(f"{np.median(counts):.3g}")
    if value < FEWEST_COUNTS:
        return Check(
            "dose",
            value,
            Verdict.WARN,
            f"the median column is located as well as {value:.0f} counts without background allow (noise, background "
            f"and jitter together): below {FEWEST_COUNTS:.0f}, occupancies are uncertain and more is left unresolved",
        )
    return Check("dose", value, Verdict.OK)


def field_check(micrograph: Micrograph) -> Check:
    """Shorter side of the view against the bounds of the thickness classes."""
    side = min(n * size for n, size in zip(micrograph.shape, micrograph.calibration.pixel_size_nm, strict=True))
    value = round(float(side), 2)
    if side < THIN_NM:
        seen = "not even a thin layer's end need be in view: a thickness is a lower bound"
    elif side < THICK_NM:
        seen = f"layers up to about {side:.0f} nm can end in view, a thick one (over {THICK_NM:.0f} nm) can not be told"
    else:
        return Check("field_of_view", value, Verdict.OK)
    return Check("field_of_view", value, Verdict.WARN, f"the view is {side:.1f} nm across its shorter side: {seen}")
