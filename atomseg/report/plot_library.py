"""Jinja2 templates and the plot library of the pages: all from installed packages, nothing from a network.

plotly.js draws: it is what scientists know, its WebGL scatter holds tens of thousands of columns, it pans and zooms
images, and the Python package carries it as one file, so that nothing is fetched from anywhere.
"""

import base64
import gzip
import importlib.metadata
import importlib.util
import json
from functools import lru_cache
from pathlib import Path
from typing import Any

from atomseg.errors import OutputError
from atomseg.io import replace_file

# Folder below the output folder of a batch that holds what its pages share.
ASSETS = "assets"
# Pages may load their own folder and what is packed into them, and nothing else from anywhere. WebGL in plotly compiles
# its drawing routines when it runs, hence 'unsafe-eval'.
_POLICY = (
    "default-src 'none'; img-src 'self' file: data: blob:; style-src 'unsafe-inline'; "
    "script-src 'self' file: 'unsafe-inline' 'unsafe-eval'"
)
_TEMPLATES = Path(__file__).with_name("templates")


def render(template: str, **values: Any) -> str:
    """A page from one of the templates beside this module; values are escaped, names that are missing are errors."""
    return str(_environment().get_template(template).render(**values))


@lru_cache(maxsize=1)
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES, encoding="utf-8"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(verbatim=_verbatim, policy=_POLICY)
    return environment


def _verbatim(name: str) -> Any:
    """A script or style sheet as it is: its braces are not Jinja's."""
    from markupsafe import Markup

    return Markup((_TEMPLATES / name).read_text(encoding="utf-8"))


def script_json(value: Any) -> str:
    """JSON that can stand inside a script element, whatever the names of files contain."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def library_name() -> str:
    """File name of the plot library, with its version: pages of an older one keep theirs."""
    return f"plotly-{importlib.metadata.version('plotly')}.min.js"


@lru_cache(maxsize=1)
def library_packed() -> str:
    """The plot library as base64 of gzip, which a browser unpacks itself: 1.9 instead of 4.8 MB in a page."""
    return base64.b64encode(gzip.compress(_library_path().read_bytes(), compresslevel=9, mtime=0)).decode("ascii")


def share_library(output: Path) -> Path:
    """Put the plot library into the output folder of a batch, once for all of its pages.

    Raises
    ------
    OutputError
        If it can not be written.
    """
    target = Path(output) / ASSETS / library_name()
    content = _library_path().read_bytes()
    if target.is_file() and target.stat().st_size == len(content):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise OutputError(f"{target.parent} can not be made: {exc.strerror or exc}") from exc
    replace_file(target, content)
    return target


def _library_path() -> Path:
    # Found, not imported: importing plotly takes longer than everything else here.
    spec = importlib.util.find_spec("plotly")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    for folder in folders:
        path = Path(folder) / "package_data" / "plotly.min.js"
        if path.is_file():
            return path
    raise OutputError("the plot library of the pages is missing: pip install plotly")
