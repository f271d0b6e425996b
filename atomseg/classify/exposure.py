"""How the image was recorded: clipped pixels, filtering, dose and field of view, each as a check."""

import numpy as np
from scipy.fft import fft2
from scipy.ndimage import gaussian_filter1d

from atomseg.imaging import rough_power
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
# Fewer counts a column than this: an interlayer's occupancy is known to 0.15 at best.
FEWEST_COUNTS = 100.0
# Levels between which the growth of the noise is read, how far they are smoothed, and how well both must go together.
LEVELS, LEVEL_PX, LEAST_CORRELATION = 12, 1.5, 0.8
# Variances are known to half a per cent from this many pixels, and the dose is told to two digits.
ENOUGH_PIXELS = 1_000_000
# Bound of the thin class, nm.
THIN_NM = 5.0


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
        dose_check(micrograph, columns),
        field_check(micrograph),
    ]


def saturation_check(micrograph: Micrograph) -> Check:
    """Share of pixels at the detector's ceiling; the floor is no check, since vacuum counts nothing."""
    image = micrograph.image
    ceiling = image.max()
    next_level = image.max(where=image < ceiling, initial=image.min())
    top, below = (int((image == level).sum()) for level in (ceiling, next_level))
    clipped = next_level < ceiling and top >= CLIPPED_PIXELS and top > CLIPPED_OVER_NEXT * below
    share = top / image.size if clipped else 0.0
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


def dose_check(micrograph: Micrograph, columns: Columns) -> Check:
    """Detected counts of the median bright column: its light over the gain that the noise shows."""
    table = columns.table
    gain = noise_gain(micrograph.image)
    amplitude = table["amplitude"].to_numpy(float)
    if gain is None or len(table) == 0:
        return Check("dose", None, Verdict.OK)
    py, px = micrograph.calibration.pixel_size_nm
    area = table["fwhm_major_nm"].to_numpy(float) * table["fwhm_minor_nm"].to_numpy(float) / FWHM_PER_SIGMA**2
    light = 2 * np.pi * area / (py * px) * amplitude
    value = float(f"{np.median(light[amplitude >= np.median(amplitude)]) / gain:.2g}")
    if value < FEWEST_COUNTS:
        return Check(
            "dose",
            value,
            Verdict.WARN,
            f"about {value:.0f} counts a column (by the noise): below {FEWEST_COUNTS:.0f} occupancies are uncertain "
            "and much is left unresolved",
        )
    return Check("dose", value, Verdict.OK)


def noise_gain(image: np.ndarray) -> float | None:
    """Growth of the noise's variance with the level, in the image's unit: values a count, if noise is Poisson's.

    None where variance does not grow with the level.
    """
    step = max(1, int(np.sqrt(image.size / ENOUGH_PIXELS)))
    rough = rough_power(image)[::step, ::step]
    # Only the rows that are asked are smoothed along themselves.
    level = gaussian_filter1d(gaussian_filter1d(image, LEVEL_PX, axis=0)[::step], LEVEL_PX, axis=1)[:, ::step]
    edges = np.quantile(level, np.linspace(0, 1, LEVELS + 1))
    which = np.clip(np.searchsorted(edges, level.ravel(), side="right") - 1, 0, LEVELS - 1)
    count = np.maximum(np.bincount(which, minlength=LEVELS), 1)
    variance = np.bincount(which, rough.ravel(), minlength=LEVELS) / count
    mean = np.bincount(which, level.ravel(), minlength=LEVELS) / count
    if np.ptp(mean) <= 0:
        return None
    slope, _ = np.polyfit(mean, variance, 1)
    return float(slope) if slope > 0 and np.corrcoef(mean, variance)[0, 1] > LEAST_CORRELATION else None


def field_check(micrograph: Micrograph) -> Check:
    """Shorter side of the view: what can be seen of a layer is measured, point by point, by its censoring."""
    side = min(n * size for n, size in zip(micrograph.shape, micrograph.calibration.pixel_size_nm, strict=True))
    value = round(float(side), 2)
    if side >= THIN_NM:
        return Check("field_of_view", value, Verdict.OK)
    message = f"the view is {side:.1f} nm across its shorter side: not even a thin layer's end need be in view"
    return Check("field_of_view", value, Verdict.WARN, message)
