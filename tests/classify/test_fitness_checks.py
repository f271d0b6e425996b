"""Each check says what is known of images made for it; gain, offset, transposes and turns change no verdict."""

import dataclasses
import re

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.stats import skew

from atomseg.classify import ClassifyConfig, classify, contrast_check
from atomseg.classify.exposure import dose_check, field_check, filter_check, saturation_check
from atomseg.classify.zone import PlaneLattice, ZoneFamily, plane_lattice, zone_family
from atomseg.types import Calibration, CalibrationOrigin, Columns, Micrograph, Verdict

CONFIG = ClassifyConfig()


def micrograph(image, size=0.02):
    return Micrograph(np.asarray(image, dtype=np.float32), Calibration((size, size), CalibrationOrigin.METADATA))


def verdicts(phases):
    return {check.name: check.verdict for check in phases.checks}


def points(basis, turn_deg, rng, jitter_nm=0.006):
    """Points of a lattice in 8 nm, jittered."""
    n = np.arange(-120, 121)
    i, j = np.meshgrid(n, n)
    turn = np.deg2rad(turn_deg)
    matrix = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
    yx = np.stack([i.ravel(), j.ravel()], axis=1) @ np.asarray(basis) @ matrix.T + 4.0
    yx = yx[((yx > 0) & (yx < 8)).all(axis=1)]
    return yx + rng.normal(0, jitter_nm, yx.shape)


# DOMAIN: projected lattices of LiNiO2, NiO, delithiated NiO2 and of other crystals (lattice constants of handbooks).
ZONES = [
    ([[0.473, 0], [0, 0.1439]], ZoneFamily.PERP_112),
    ([[0.2412, 0], [0, 0.1477]], ZoneFamily.PERP_112),
    ([[0.1439, 0.0831], [0, 0.1662]], ZoneFamily.C_AXIS),
    ([[0.2438, 0.14075], [0, 0.2815]], ZoneFamily.C_AXIS),
    ([[0.473, 0.0831], [0, 0.2492]], ZoneFamily.CLOSE_PACKED),
    ([[0.2412, 0.0853], [0, 0.2558]], ZoneFamily.CLOSE_PACKED),
    ([[0.3905, 0], [0, 0.3905]], ZoneFamily.OTHER),
    ([[0.2025, 0], [0, 0.2025]], ZoneFamily.OTHER),
]


@pytest.mark.parametrize("turn", [0.0, 23.0, 90.0])
@pytest.mark.parametrize(("basis", "family"), ZONES)
def test_zone_family_is_read_off_the_columns_at_any_rotation(basis, family, turn):
    found = plane_lattice(points(basis, turn, np.random.default_rng(3)))
    assert zone_family(found) is family


def test_lattice_has_the_lengths_and_angle_of_its_vectors():
    found = plane_lattice(points([[0.2412, 0.0853], [0, 0.2558]], 17.0, np.random.default_rng(1)))
    assert isinstance(found, PlaneLattice)
    # Medians over some thousand vectors of 8 pm scatter: 0.3 pm; three of them.
    assert (found.short_nm, found.long_nm) == pytest.approx((0.2558, 0.2558), abs=1e-3)
    assert found.angle_deg == pytest.approx(70.53, abs=0.5)


def test_random_points_have_no_lattice():
    yx = np.random.default_rng(0).uniform(0, 8, (1200, 2))
    assert plane_lattice(yx) is None


@pytest.mark.parametrize("size", [0.007, 0.012, 0.025])
def test_contrast_is_the_same_at_any_pixel_size(size):
    # Columns 0.25 nm apart, 50 pm wide, on pixels that are averaged to blocks of seven, four and two.
    at = np.arange(0.0, 6.0, size)
    wave = np.exp(-0.5 * (((at + 0.125) % 0.25 - 0.125) / 0.05) ** 2)
    image = wave[:, None] * wave
    band = gaussian_filter(image, 0.05 / size) - gaussian_filter(image, 0.15 / size)
    plain = float(skew(band, axis=None))
    # Blocks of one standard deviation sample the filtered columns: a thousandth of their power lies beyond.
    assert contrast_check(micrograph(image, size)).value == pytest.approx(plain, rel=0.02)


@pytest.mark.parametrize(("percentile", "verdict"), [(100, "ok"), (99, "warn"), (90, "stop")])
def test_clipping_is_told_by_its_share(maker, percentile, verdict):
    image = maker.build(maker.Lattice())[0].image
    clipped = np.minimum(image, np.percentile(image, percentile))
    for factor, offset in ((1.0, 0.0), (3.7, 250.0)):
        assert saturation_check(micrograph(factor * clipped + offset)).verdict == verdict


def test_counts_of_few_levels_are_not_clipped():
    counts = np.random.default_rng(0).poisson(0.4, (400, 400))
    assert saturation_check(micrograph(counts)).verdict is Verdict.OK


@pytest.mark.parametrize(("sigma", "verdict"), [(0.0, "ok"), (0.8, "warn"), (2.0, "warn")])
def test_filters_leave_no_high_frequencies(maker, sigma, verdict):
    image = gaussian_filter(maker.build(maker.Lattice(noise=0.05))[0].image, sigma)
    for seen in (image, image.T, np.rot90(image), 12.0 * image - 5.0):
        check = filter_check(micrograph(seen))
        assert check.verdict == verdict
    # White noise has as much power in either band; some thousand coefficients scatter by a few per cent.
    if sigma == 0.0:
        assert check.value == pytest.approx(1.0, abs=0.2)


@pytest.mark.parametrize(("counts", "verdict"), [(40.0, Verdict.WARN), (400.0, Verdict.OK), (4000.0, Verdict.OK)])
def test_dose_is_read_off_the_noise_whatever_gain_and_offset(maker, counts, verdict):
    clean, columns = maker.build(maker.Lattice(noise=0.0))
    size = clean.calibration.pixel_size_nm[0]
    # Light of a column of unit height, pixels.
    light = 2 * np.pi * (columns.table["fwhm_major_nm"][0] / np.sqrt(8 * np.log(2)) / size) ** 2
    noisy = np.random.default_rng(3).poisson(np.maximum(clean.image, 0) * counts / light)
    for gain, offset in ((1.0, 0.0), (7.0, 500.0)):
        # Columns know the heights of the image they were found in.
        table = columns.table.assign(amplitude=columns.table["amplitude"] * gain * counts / light)
        check = dose_check(micrograph(gain * noisy + offset), Columns(table))
        # Columns that stand off the lattice of the drawing and the finest detail leave a fifth.
        assert check.value == pytest.approx(counts, rel=0.25)
        assert check.verdict is verdict


def test_dose_is_not_known_without_noise_that_grows_with_the_level(maker):
    clean, columns = maker.build(maker.Lattice(noise=0.0))
    flat = clean.image + np.random.default_rng(4).normal(0, 0.2, clean.image.shape)
    assert dose_check(micrograph(flat), columns).value is None


@pytest.mark.parametrize(("pixels", "verdict"), [(200, "warn"), (600, "ok"), (1100, "ok")])
def test_field_of_view_is_the_shorter_side(pixels, verdict):
    check = field_check(micrograph(np.zeros((pixels, 1200))))
    assert (check.value, check.verdict) == (pytest.approx(0.02 * pixels), verdict)


def test_both_pixel_sizes_are_told_when_they_disagree(maker):
    # Columns 5 % too far apart: 20 pm by the metadata, 19.05 by the lattice.
    lattice = maker.Lattice(period_nm=1.05 * 0.2490, layer_nm=1.05 * 0.473)
    check = next(c for c in classify(*maker.build(lattice), CONFIG).checks if c.name == "scale")
    assert check.verdict is Verdict.WARN
    assert "20.00 pm by metadata" in check.message
    assert "19.0" in check.message


def test_shear_is_measured(maker):
    for shear in (0.0, 0.04):
        check = next(c for c in classify(*maker.build(maker.Lattice(shear=shear)), CONFIG).checks if c.name == "shear")
        # Mean of some hundred shifts of 6 pm error over 0.47 nm: below 0.1 degrees.
        assert check.value == pytest.approx(np.rad2deg(np.arctan(shear)), abs=0.15)
        assert (check.verdict is Verdict.WARN) == (shear > 0.03)


def test_gain_offset_and_transposing_change_no_verdict(maker):
    image, columns = maker.build(maker.Lattice(rotation_deg=33.0))
    expected = verdicts(classify(image, columns, CONFIG))
    table = columns.table.copy()
    table["amplitude"] *= 40.0
    brighter = dataclasses.replace(image, image=(40.0 * image.image + 900.0).astype(np.float32))
    assert verdicts(classify(brighter, Columns(table), CONFIG)) == expected
    names = {"y_px": "x_px", "x_px": "y_px", "y_nm": "x_nm", "x_nm": "y_nm"}
    turned = columns.table.rename(columns=names)[list(columns.table.columns)]
    transposed = dataclasses.replace(image, image=np.ascontiguousarray(image.image.T))
    assert verdicts(classify(transposed, Columns(turned), CONFIG)) == expected


@pytest.mark.parametrize("given_nm", [0.0125, 0.05])
def test_a_pixel_size_wrong_by_a_factor_of_two_is_named_with_the_one_that_fits(maker, given_nm):
    image, columns = maker.build(maker.Lattice(pixel_nm=0.025, size_nm=9.0, rotation_deg=17))
    calibration = Calibration((given_nm, given_nm), CalibrationOrigin.USER)
    yx_nm = columns.yx_px * given_nm
    scaled = Columns(columns.table.assign(y_nm=yx_nm[:, 0], x_nm=yx_nm[:, 1]))
    none = Columns(columns.table.iloc[:0])
    for seen in (scaled, none):
        phases = classify(Micrograph(image.image, calibration), seen, CONFIG)
        (told,) = {check.message for check in phases.checks if check.verdict is Verdict.STOP}
        assert f"wrong pixel size ({1e3 * given_nm:g} pm, from user)" in told
        offered = re.search(r"the lattice fits pixels of ([0-9.]+) pm: .*--pixel-size-nm 0", told)
        assert offered, told
        assert float(offered[1]) == pytest.approx(25.0, rel=0.02)


def test_a_right_pixel_size_is_doubted_but_no_other_is_offered(maker):
    image, columns = maker.build(maker.Lattice(pixel_nm=0.025, size_nm=9.0))
    phases = classify(image, Columns(columns.table.iloc[:10]), CONFIG)
    (told,) = [check.message for check in phases.checks if check.name == "columns"]
    assert "10 columns found, at least 30" in told
    assert "wrong pixel size (25 pm, from metadata)" in told
    assert "fits pixels" not in told
