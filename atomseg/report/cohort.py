"""The cohort page: one row a micrograph, thumbnails that lead to the figures, no network needed."""

import html
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from atomseg.report.style import PHASE_COLORS
from atomseg.types import Phase

_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 76rem; padding: 0 1rem; color: #222; }
h1 { font-size: 1.4rem; } table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .45rem .6rem; border-bottom: 1px solid #ddd; }
th { font-weight: 600; border-bottom: 2px solid #888; } img { width: 15rem; border: 1px solid #ccc; display: block; }
.bar { display: flex; width: 9rem; height: .7rem; border: 1px solid #888; } .bar span { height: 100%; }
.failed, .refused { color: #a33c00; } .note { color: #666; font-size: .85rem; }
.key { display: inline-block; width: .8em; height: .8em; border: 1px solid #888; } td.n { white-space: nowrap; }
"""

_HEAD = ("figure", "micrograph", "columns", "phases", "thickness", "class", "notes")


def cohort_html(rows: Sequence[Mapping[str, Any]]) -> str:
    """A page that opens offline, from the rows of summary.csv.

    Parameters
    ----------
    rows : sequence of mapping
        Rows of summary.csv; links are relative to the folder that holds the page.
    """
    counts = Counter(str(row["status"]) for row in rows)
    told = ", ".join(f"{n} {html.escape(status)}" for status, n in counts.items()) or "no micrographs"
    legend = " ".join(
        f'<span class="key" style="background:{PHASE_COLORS[phase]}"></span> {phase.label}'
        for phase in Phase
        if phase is not Phase.NONE
    )
    head = "".join(f"<th>{name}</th>" for name in _HEAD)
    body = "\n".join(_row(row) for row in rows)
    return f"""<!doctype html>
<html lang="en">
<head><meta charset="utf-8"><title>atomseg: {told}</title><style>{_STYLE}</style></head>
<body>
<h1>{len(rows)} micrograph{"" if len(rows) == 1 else "s"}: {told}</h1>
<p class="note">{legend}. Shares are of the crystal's area. Brackets hold the 5 to 95 % spread along the surface;
"at least" marks layers that leave the view. Compare groups by particle, not by image.</p>
<table>
<thead><tr>{head}</tr></thead>
<tbody>
{body}
</tbody>
</table>
</body>
</html>
"""


def _row(row: Mapping[str, Any]) -> str:
    status = str(row["status"])
    name = html.escape(str(row["folder"] or row["file"]))
    if status in {"failed", "refused"}:
        reason = html.escape(str(row["reason"]))
        return f'<tr class="{status}"><td></td><td>{name}</td><td colspan="5">{status}: {reason}</td></tr>'
    folder = quote(str(row["folder"]))
    figure = f'<a href="{folder}/overview.png"><img src="{folder}/overview.png" alt="{name}" loading="lazy"></a>'
    thickness = _thickness(row)
    kind = _text(row, "class")
    if kind and _text(row, "class_probability"):
        kind += f" (p = {_number(row, 'class_probability', 2)})"
    notes = html.escape(_text(row, "warnings")).replace(" | ", "<br>")
    return (
        f'<tr><td>{figure}</td><td><a href="{folder}/">{name}</a></td>'
        f'<td class="n">{_text(row, "n_columns")}</td>'
        f'<td>{_bar(row)}</td><td class="n">{thickness}</td><td class="n">{kind}</td>'
        f'<td class="note">{notes}</td></tr>'
    )


def _thickness(row: Mapping[str, Any]) -> str:
    if not _text(row, "thickness_mean_nm"):
        bound = _text(row, "thickness_lower_bound_nm")
        return f"at least {_number(row, 'thickness_lower_bound_nm', 1)} nm" if bound else ""
    bound = "at least " if _text(row, "censored").lower() == "true" else ""
    text = f"{bound}{_number(row, 'thickness_mean_nm', 1)} nm"
    if _text(row, "thickness_p05_nm") and _text(row, "thickness_p95_nm"):
        text += f" [{_number(row, 'thickness_p05_nm', 1)} to {_number(row, 'thickness_p95_nm', 1)}]"
    return text


def _bar(row: Mapping[str, Any]) -> str:
    shares = [(phase, float(_text(row, phase.key) or 0.0)) for phase in Phase if phase is not Phase.NONE]
    if not any(share for _, share in shares):
        return ""
    title = ", ".join(f"{phase.label} {share:.1%}" for phase, share in shares if share)
    spans = "".join(
        f'<span style="width:{100 * share:.2f}%;background:{PHASE_COLORS[phase]}"></span>' for phase, share in shares
    )
    return f'<div class="bar" title="{title}">{spans}</div><span class="note">{title}</span>'


def _text(row: Mapping[str, Any], key: str) -> str:
    value = row.get(key)
    return "" if value is None else str(value)


def _number(row: Mapping[str, Any], key: str, digits: int) -> str:
    return f"{float(row[key]):.{digits}f}"
