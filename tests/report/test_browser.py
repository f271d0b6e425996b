"""Pages in a real browser: they load without errors and without a request, switch layers, and show what the tables hold.

Positions and colours are computed here from the result and read off the screen, not taken from the pages' script.
"""

import base64
import dataclasses
import io
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from atomseg.analysis import Analysis
from atomseg.batch.table import outcome_row
from atomseg.batch.work import Outcome
from atomseg.io.summary import summarize
from atomseg.report import PHASE_COLORS, cohort_html, figure_files, page_files, share_library
from atomseg.types import AnalysisRecord, Phase, Scene

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium: pip install 'atomseg[test]'")

PATIENCE_S = 60.0  # a busy machine; the pages take 1 to 5 s
OPTIONS = (
    "--headless=new", "--no-sandbox", "--disable-gpu", "--enable-unsafe-swiftshader", "--disable-quic",
    "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--disable-dev-shm-usage", "--window-size=1600,1100",
)  # fmt: skip


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Chromium without a window."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if program is None or driver is None:
        reason = "needs Chromium and chromedriver, e.g. apt-get install chromium chromium-driver"
        if os.environ.get("CI"):
            pytest.fail(f"{reason}; where CI is set a missing browser is no reason to skip")
        pytest.skip(reason)
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for option in (*OPTIONS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(option)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    chromium = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield chromium
    chromium.quit()


@pytest.fixture(scope="module")
def truth(surface_scene: Scene) -> AnalysisRecord:
    """A result with a surface, all of it known."""
    from tests_report_records import record_of

    return record_of(surface_scene)
