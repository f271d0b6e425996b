"""A headless Chromium for what benchmarks measure and show of the pages."""

import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_OPTIONS = ("--headless=new", "--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--disable-dev-shm-usage")
_PATIENCE_S = 300.0


@contextmanager
def chromium(profile: Path, *, window: tuple[int, int] = (1600, 1100)) -> Iterator[Any]:
    """Chromium without a window, as Selenium's driver.

    Parameters
    ----------
    profile : pathlib.Path
        Folder for its profile; made where it is missing.
    window : tuple of int
        (width, height) in pixels.
    """
    from selenium import webdriver

    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        raise SystemExit("needs Chromium and chromedriver, e.g. apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for option in (*_OPTIONS, f"--window-size={window[0]},{window[1]}", f"--user-data-dir={profile}"):
        options.add_argument(option)
    browser = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    browser.set_script_timeout(_PATIENCE_S)
    browser.set_page_load_timeout(_PATIENCE_S)
    try:
        yield browser
    finally:
        browser.quit()


def load(browser: Any, page: Path) -> None:
    """Open a page and wait until it has drawn.

    Raises
    ------
    RuntimeError
        If it could not draw.
    """
    browser.get(page.as_uri())
    end = time.monotonic() + _PATIENCE_S
    while not (state := browser.execute_script("return document.body.dataset.state")) and time.monotonic() < end:
        time.sleep(0.05)
    if state != "ready":
        raise RuntimeError(f"{page} could not draw its plots")


def save_screenshot(browser: Any, path: Path, *, height: int, colors: int = 256) -> None:
    """The upper part of the page as a PNG file with a palette: small enough for a repository.

    Parameters
    ----------
    browser : selenium.webdriver.Chrome
        With the page open.
    path : pathlib.Path
        File to write.
    height : int
        How much of the page, in pixels.
    colors : int
        Size of the palette.
    """
    import base64
    import io

    from PIL import Image

    width = int(browser.execute_script("return window.innerWidth"))
    clip = {"x": 0, "y": 0, "width": width, "height": height, "scale": 1}
    told = browser.execute_cdp_cmd("Page.captureScreenshot", {"clip": clip, "captureBeyondViewport": True})
    with Image.open(io.BytesIO(base64.b64decode(told["data"]))) as image:
        image.convert("RGB").quantize(colors).save(path, optimize=True)
