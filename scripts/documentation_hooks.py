"""What mkdocs needs beyond `docs/`: pages made of the repository's own files, and links that end inside the site."""

import json
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
# Pages of the site that lie outside docs/, by their path in the repository.
PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}
_LINK = re.compile(r"(!?)\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made here."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=site_links(text, "")))
    files.append(File.generated(config, "tutorial.md", content=notebook_page(ROOT / "docs" / "tutorial.ipynb")))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links of pages in docs/ as they have to be in the site."""
    return markdown if page.file.src_uri in {*PAGES.values(), "tutorial.md"} else site_links(markdown, "docs")


def site_links(text: str, folder: str) -> str:
    """Links as seen from the site; what lies outside of it is named without a link."""

    def replaced(found: re.Match[str]) -> str:
        bang, label, target = found.groups()
        path, _, anchor = target.partition("#")
        if "://" in target or not path:
            return found[0]
        place = ((ROOT / folder / path).resolve()).relative_to(ROOT).as_posix()
        if place in PAGES:
            inside = PAGES[place]
        elif place.startswith("docs/"):
            inside = place.removeprefix("docs/")
        else:
            return label
        return f"{bang}[{label}]({inside}{'#' + anchor if anchor else ''})"

    return _LINK.sub(replaced, text)


def notebook_page(path: Path) -> str:
    """A notebook's words and code as Markdown; its output is what running it shows."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    parts = [
        f"```python\n{''.join(cell['source'])}\n```" if cell["cell_type"] == "code" else "".join(cell["source"])
        for cell in cells
    ]
    return "\n\n".join(parts) + "\n"
