"""The documentation builds as a site without a warning, and the tutorial runs as it stands."""

import os
import re
import subprocess
import sys
from pathlib import Path

import nbclient
import nbformat
import pytest


@pytest.fixture(scope="module")
def site(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built site; `--strict` makes every warning an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    env = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(
        command, cwd=repository, env=env, capture_output=True, text=True, timeout=300, check=False
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    return folder


def test_every_page_is_in_the_site_and_its_links_lead_somewhere(site: Path, repository: Path) -> None:
    for page in (repository / "docs").glob("*.md"):
        assert (site / page.stem / "index.html").is_file(), f"{page.name} is missing in the site"
    broken = []
    for page in site.rglob("*.html"):
        for target in re.findall(r'(?:href|src)="([^"#?]+)', page.read_text(encoding="utf-8")):
            if "://" in target or target.startswith(("data:", "mailto:", "/")) or page.name == "404.html":
                continue
            place = page.parent / target
            if not (place.is_file() or (place / "index.html").is_file()):
                broken.append(f"{page.relative_to(site)}: {target}")
    assert not broken


def test_a_reader_fetches_nothing_from_elsewhere(site: Path) -> None:
    pattern = r'<(?:script|img|iframe)[^>]+src="(?:https?:)?//[^"]+|<link[^>]+rel="(?:stylesheet|preconnect)"[^>]+href="https?://[^"]+'
    assert not [
        found for page in site.rglob("*.html") for found in re.findall(pattern, page.read_text(encoding="utf-8"))
    ]


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_the_tutorial_runs(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Tables and figures of a notebook go to the user's folders of settings: a fresh one for the test.
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    monkeypatch.setenv("JUPYTER_PREFER_ENV_PATH", "1")
    notebook = nbformat.read(repository / "docs" / "tutorial.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells), "clear the outputs before you commit"
    nbclient.NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(repository / "docs")}}
    ).execute()
    shown = [
        output["data"].get("text/plain", "")
        for cell in notebook.cells if cell.cell_type == "code"
        for output in cell.outputs if output.output_type in {"execute_result", "display_data"}
    ]  # fmt: skip
    assert shown[0].startswith("Analysis of sc811_surface_thin")
    assert "True" in shown  # what was read back has the columns that were saved
    period = next(float(text) for text in shown if re.fullmatch(r"0\.\d+", text))
    # a sin 60 degrees of NMC-811 (a = 0.2871 nm) within what the simulated calibration and strain are drawn from.
    assert period == pytest.approx(0.2486, rel=0.03)
