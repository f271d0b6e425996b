"""The place of a column as imaged is where a Gaussian fits its noise-free peak best, whatever scan and detector did."""

import numpy as np
import pytest
from scipy.optimize import least_squares

from atomseg.simulate import simulate
from atomseg.simulate.afterglow import afterglow

# Columns 0.6 nm apart, so that nothing of a neighbour reaches into a fit.
SPARSE = {
    "p_layered": 0.0,
    "p_cif": 0.0,
    "p_named": 0.0,
    "spacing_nm": (0.6, 0.6),
    "angle_deg": (90.0, 90.0),
    "max_species": 1,
    "p_dumbbell": 0.0,
}
PIXEL_NM, CORE_NM = 0.02, 0.045


def fixed(value):
    return (value, value)


def fitted(image, start_yx, sigma_px, *, plane):
    """Positions by a least-squares fit of a Gaussian of any shape on a level or plane, out to three deviations."""
    found, half = [], int(np.ceil(3 * sigma_px))
    for y, x in start_yx:
        r, c = (np.arange(round(v) - half, round(v) + half + 1) for v in (y, x))
        values = image[np.ix_(r, c)].astype(float)
        values = (values - values.min()) / np.ptp(values)
        dy, dx = np.meshgrid(r - y, c - x, indexing="ij")

        def misfit(p, dy=dy, dx=dx, values=values):
            slopes = plane * (p[7] * dy + p[8] * dx)
            v, u = dy - p[0], dx - p[1]
            shape = np.exp(-0.5 * (p[2] * v * v + 2 * p[3] * v * u + p[4] * u * u))
            return (p[5] * shape + p[6] + slopes - values).ravel()

        guess = [0.0, 0.0, sigma_px**-2, 0.0, sigma_px**-2, 1.0, 0.0, 0.0, 0.0]
        found.append(np.array([y, x]) + least_squares(misfit, guess).x[:2])
    return np.array(found)


def errors_pm(plain_config, **parts):
    """(N, 2) fitted minus true place (y, x) of isolated columns in the noise-free image, pm."""
    # Neither tails nor background, which are not Gaussian, unless a case asks for one.
    parts["optics"] = {"tail_per_nm": fixed(0.0), **parts.get("optics", {})}
    parts["background"] = {"level": fixed(1e-6), **parts.get("background", {})}
    config = plain_config(p_cathode=0.0, p_other=1.0, other=SPARSE, **parts)
    scene = simulate(config, np.random.default_rng(11), truth="columns")
    table, size = scene.columns.table, np.array(scene.micrograph.calibration.pixel_size_nm)
    table = table[table.y_px.between(16, 239) & table.x_px.between(16, 239) & (table.required == 1)]
    for row in scene.parameters["scan"]["jump_rows"]:  # only whole columns
        table = table[abs(table.y_px - row) > 4 * CORE_NM / PIXEL_NM]
    at = table[["y_px", "x_px"]].to_numpy()
    assert len(at) > 25
    found = fitted(scene.clean, at, table.fwhm_major_nm.max() / 2.3548 / PIXEL_NM, plane="slope" in parts["background"])
    return (found - at) * size * 1e3


@pytest.mark.parametrize(
    "parts",
    [
        {},
        {"scan": {"shear": fixed(0.052)}},
        {"scan": {"bend_nm": fixed(0.5)}},
        {"scan": {"anisotropy": fixed(0.015)}},
        {"scan": {"p_flyback": 1.0, "flyback": fixed(0.1), "flyback_length": fixed(0.02)}},
        {"scan": {"p_flyback": 1.0, "flyback": fixed(0.1), "flyback_length": fixed(0.1)}},
        {"scan": {"p_jump": 1.0, "jumps": (2, 2), "jump_nm": fixed(0.3)}},
        {"scan": {"p_wobble": 1.0, "wobble_pm": fixed(60.0), "wobble_rows": fixed(150.0)}},
        {"defects": {"p_bending": 1.0, "bending_deg_per_10nm": fixed(2.0)}},
        {"optics": {"p_mistilt": 1.0, "mistilt_mrad": fixed(15.0), "tilt_shift_pm_per_mrad": fixed(0.7)}},
        {"optics": {"ellipticity": fixed(1.5)}},
        {"detector": {"offset": fixed(0.5)}},
        {"detector": {"p_frames": 1.0, "frames": (40, 40), "registration_pm": fixed(30.0)}},
        {"detector": {"p_gamma": 1.0, "gamma": fixed(2.0)}},
        {"detector": {"p_gamma": 1.0, "gamma": fixed(0.5)}},
        {"detector": {"formats": ("uint8",), "p_clipped": 1.0, "clipped": fixed(0.01)}},
        {"detector": {"p_filter": 1.0, "filter_pm": fixed(30.0)}},
        {"background": {"level": fixed(1.0), "slope": fixed(0.5)}},
        {"detector": {"p_ramp": 1.0, "ramp": fixed(0.2)}},
    ],
    ids=str,
)
def test_a_fit_finds_columns_where_truth_has_them(plain_config, parts):
    # 0.1 pm: fits agree to 0.01 pm; the slope of a ramp of 20 % over the image is worth sigma^2 times it, 0.08 pm, and
    # that of a background is not quite a plane.
    assert np.abs(errors_pm(plain_config, **parts)).max() < 0.1


@pytest.mark.parametrize("decay_px", [0.2, 0.5, 1.0, 2.0, 3.0])
@pytest.mark.parametrize("optics", [{}, {"ellipticity": fixed(2.5)}], ids=["round", "elliptical"])
def test_afterglow_moves_truth_as_it_moves_fits(plain_config, decay_px, optics):
    glow = {"p_afterglow": 1.0, "afterglow_px": fixed(decay_px)}
    error = errors_pm(plain_config, detector=glow, optics=optics)
    # 0.3 pm: a fit that ends at three standard deviations misses the last of the skewed tail (0.2 pm at 3 px). Without
    # afterglow in truth the error is 3 pm at 0.5 px, 10 pm at 1 px, 24 pm at 2 px.
    assert np.abs(error).max() < 0.3
    assert np.abs(error[:, 0]).max() < 0.02  # nothing along y


def test_afterglow_and_a_filter_move_columns_together(plain_config):
    detector = {"p_afterglow": 1.0, "afterglow_px": fixed(1.0), "p_filter": 1.0, "filter_pm": fixed(30.0)}
    assert np.abs(errors_pm(plain_config, detector=detector)).max() < 0.2  # as above


@pytest.mark.parametrize(("rows", "bound_pm"), [(50.0, 0.3), (20.0, 4.0)])
def test_interference_moves_columns_by_the_lines_they_cover(plain_config, rows, bound_pm):
    scan = {"p_wobble": 1.0, "wobble_pm": fixed(60.0), "wobble_rows": fixed(rows)}
    # A column has a standard deviation of 2.25 rows. Exact for displacements small against a column; 60 pm are more
    # than its 45 pm, and bend it where the period is short.
    assert np.abs(errors_pm(plain_config, scan=scan)).max() < bound_pm


def test_wide_columns_move_by_the_mean_of_the_glow():
    keep = np.exp(-1.0 / 2.0)
    wide = afterglow(60.0, 2.0)
    # The mean of k^j (1 - k) is k / (1 - k), its variance k / (1 - k)^2; a wide Gaussian is only moved and widened.
    assert wide.shift_px == pytest.approx(keep / (1 - keep), rel=3e-3)
    assert wide.sigma_px**2 - 60.0**2 == pytest.approx(keep / (1 - keep) ** 2, rel=0.1)
    narrow = afterglow(1.0, 2.0)
    assert 0.4 < narrow.shift_px < 0.7 * keep / (1 - keep)  # a skewed peak is seen before its mean
    assert afterglow(1.0, 0.0) == type(narrow)(0.0, 1.0, 1.0)


def test_afterglow_widens_and_lowers_columns_in_truth(plain_config):
    glow = {"p_afterglow": 1.0, "afterglow_px": fixed(2.0)}
    parts = {"optics": {"tail_per_nm": fixed(0.0)}, "background": {"level": fixed(1e-6)}, "other": SPARSE}
    config = plain_config(p_cathode=0.0, p_other=1.0, detector=glow, **parts)
    scene = simulate(config, np.random.default_rng(11), truth="columns")
    table = scene.columns.table[scene.columns.table.required == 1]
    assert table.fwhm_minor_nm.iloc[0] == pytest.approx(2.3548 * CORE_NM, rel=1e-3)  # along y
    assert table.fwhm_major_nm.iloc[0] == pytest.approx(2.3548 * PIXEL_NM * 2.738, rel=5e-3)
    at = np.round(table[["y_px", "x_px"]].to_numpy()).astype(int)
    off = np.hypot(*(at - table[["y_px", "x_px"]].to_numpy()).T)
    close = off < 0.3
    shown = scene.clean[at[close, 0], at[close, 1]]
    # 5 %: the Gaussian that fits best is a little lower than the top of a skewed peak.
    assert np.allclose(shown, (table.amplitude + table.background)[close], rtol=0.05)


def test_the_clean_image_has_what_the_recorded_one_has_but_its_noise(plain_config):
    glow = {"p_afterglow": 1.0, "afterglow_px": fixed(2.0)}
    scene = simulate(plain_config(detector=glow), np.random.default_rng(12), truth="columns")
    # 1e7 counts a column leave a relative noise of 0.4 % in a dark pixel of 5e4 counts.
    assert np.allclose(scene.clean, scene.micrograph.image, rtol=0.03)


def test_phases_and_outline_follow_afterglow(plain_config):
    glow = {"p_afterglow": 1.0, "afterglow_px": fixed(3.0)}
    parts = {"surface": {"p_none": 0.0, "p_edge": 1.0, "facet_deg": fixed(0.0)}, "layer": {"p_layer": 1.0}}
    masks = []
    for detector in ({}, glow):
        config = plain_config(detector=detector, lattice={"rotation_deg": fixed(90.0)}, **parts)
        masks.append(simulate(config, np.random.default_rng(4)).crystal)
    # Layers upright: the edge moves along the lines by what a column does, 1.8 pixels.
    moved = abs(int(masks[1].sum()) - int(masks[0].sum())) / masks[0].shape[0]
    assert moved == pytest.approx(1.8, abs=0.5)
