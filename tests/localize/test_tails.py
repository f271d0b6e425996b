"""Tails of the columns' light: how much is told, and what dim columns and those at an edge gain."""

import sys

import numpy as np
import pytest
from scipy.ndimage import map_coordinates

from atomseg.localize import LocalizeConfig, fit_columns, tails

PIXEL, SIGMA_NM, PEAK = (0.02, 0.02), 0.05, 1500.0
# Rows of a layered oxide and their interlayers: period, distance, offset, light of the interlayer.
PERIOD, ROW, OFFSET, DIM = 0.249, 0.237, 0.083, 0.05
SHAPE = (300, 300)
SIZE_NM = SHAPE[0] * PIXEL[0]


def crystal(rng):
    """Positions (nm) and heights of the columns."""
    yx, height = [], []
    for n, y in enumerate(np.arange(0.3, SIZE_NM - 0.3, ROW)):
        x = np.arange(0.3, SIZE_NM - 0.3, PERIOD) + (n * OFFSET) % PERIOD
        x = x[x < SIZE_NM - 0.3]
        yx += [(y, v) for v in x]
        height += [1.0 if n % 2 == 0 else DIM] * len(x)
    return np.array(yx) + rng.normal(0.0, 0.004, (len(yx), 2)), np.array(height)


def image_of(rng, yx, height, share, spread_nm=tails.TAIL_NM):
    """An image whose columns throw a share of their Gaussian's light further by `spread_nm`; noisy with an `rng`."""

    def light(sigma_nm):
        rows, cols = (
            np.exp(-0.5 * ((np.arange(n)[:, None] * step - at) / sigma_nm) ** 2)
            for n, step, at in zip(SHAPE, PIXEL, yx.T, strict=True)
        )
        return (rows * height * (SIGMA_NM / sigma_nm) ** 2) @ cols.T

    clean = 0.2 + light(SIGMA_NM) + share * light(np.hypot(SIGMA_NM, spread_nm))
    return (PEAK * clean if rng is None else rng.poisson(PEAK * clean)).astype(np.float32)


def fitted(image, yx):
    return fit_columns(image, yx / PIXEL, PIXEL, LocalizeConfig()).table


def shares(monkeypatch):
    """Every share that is told from now on, in a list."""
    told, original = [], tails._share
    monkeypatch.setattr(tails, "_share", lambda *a: told.append(original(*a)) or told[-1])
    return told


@pytest.mark.parametrize("share", [0.15, 0.4])
def test_share_is_told(share, monkeypatch):
    rng = np.random.default_rng(1)
    yx, height = crystal(rng)
    told = shares(monkeypatch)
    fitted(image_of(rng, yx, height, share), yx)
    # A column can keep half of its tail for its own: two Gaussians and a plane are nearly one that is wider.
    assert 0.4 * share < sum(told) < 1.05 * share


@pytest.mark.parametrize("seed", range(4))
def test_no_tails_no_share(seed, monkeypatch):
    rng = np.random.default_rng([2, seed])
    yx, height = crystal(rng)
    told = shares(monkeypatch)
    fitted(image_of(rng, yx, height, 0.0), yx)
    assert sum(told) < 0.02


def test_dim_columns_gain(monkeypatch):
    """Across the rows, where the light of bright ones on both sides makes a saddle."""
    rng = np.random.default_rng(3)
    yx, height = crystal(rng)
    image = image_of(rng, yx, height, 0.5)
    inner = (height < 1) & ((yx > 0.6) & (yx < SIZE_NM - 0.6)).all(1)

    def rmse_and_ratio():
        table = fitted(image, yx)
        error = (table["y_nm"].to_numpy() - yx[:, 0])[inner] * 1e3
        ratio = error / table["sigma_y_pm"].to_numpy()[inner]
        return np.sqrt((error**2).mean()), (ratio**2).mean()

    rmse, ratio = rmse_and_ratio()
    # 200 columns: the mean of their squared errors, in units of their own, is known to 10 %.
    assert ratio < 1.2
    monkeypatch.setattr(tails, "MOST_LIGHT", 0.0)
    assert rmse < 0.6 * rmse_and_ratio()[0]


def test_columns_stand_on_the_tails_too():
    """Level and height of a bright column add up to the light in its middle, that of all tails included."""
    rng = np.random.default_rng(5)
    yx, height = crystal(rng)
    inner = (height == 1) & ((yx > 0.6) & (yx < SIZE_NM - 0.6)).all(1)
    table = fitted(image_of(rng, yx, height, 0.4), yx)[inner]
    light = map_coordinates(image_of(None, yx, height, 0.4), (yx[inner] / PIXEL).T, order=3)
    top = (table["amplitude"] + table["background"]).mean()
    # A Gaussian through a core and what is left of its own tail is 1 % lower than both in the middle.
    assert 0.985 < top / light.mean() < 1.005
    assert table["background"].mean() > 0.2 * PEAK


def test_columns_as_wide_as_tails_have_none(monkeypatch):
    """Their tails and their width are one: nothing is taken, and the fit is what it is without."""
    monkeypatch.setattr(sys.modules[__name__], "SIGMA_NM", 0.095)
    rng = np.random.default_rng(6)
    at = np.arange(0.3, SIZE_NM - 0.3, 0.30)
    yx = np.stack(np.meshgrid(at, at, indexing="ij"), axis=-1).reshape(-1, 2) + rng.normal(0, 0.004, (len(at) ** 2, 2))
    image = image_of(rng, yx, np.ones(len(yx)), 0.3)
    told = shares(monkeypatch)
    # Narrow columns give back a fifth of what was seen, these two thirds: the bound is moved below that for the test.
    monkeypatch.setattr(tails, "SLOWEST", 0.5)
    table = fitted(image, yx)
    assert told[1] > 0.5 * told[0] > 0
    monkeypatch.setattr(tails, "MOST_LIGHT", 0.0)
    assert fitted(image, yx)["x_px"].equals(table["x_px"])
