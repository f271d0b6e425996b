"""The cohort page: every row is there, nothing is fetched from anywhere, and names can not break it."""

from html.parser import HTMLParser

from atomseg.report import cohort_html

ROW = {
    "file": "/data/x.dm4", "folder": "a b/x#1", "status": "done", "reason": "", "n_columns": 812, "layered": 0.9,
    "rocksalt": 0.1, "o1": 0.0, "unresolved": 0.0, "thickness_mean_nm": 3.14, "thickness_p05_nm": 2.0,
    "thickness_p95_nm": 4.5, "censored": False, "class": "thin", "class_probability": 0.98, "warnings": "one | two",
}  # fmt: skip


class _Links(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.links += [value or "" for name, value in attrs if name in {"href", "src"}]


def test_a_done_row_shows_its_numbers() -> None:
    page = cohort_html([ROW])
    for text in ("812", "3.1 nm [2.0 to 4.5]", "thin (p = 0.98)", "rocksalt 10.0%", "one<br>two"):
        assert text in page


def test_a_censored_row_is_a_lower_bound() -> None:
    assert "at least 3.1 nm" in cohort_html([{**ROW, "censored": True}])
    assert "at least 3.1 nm" in cohort_html([{**ROW, "censored": "True"}])  # as read back from summary.csv
    only_bound = {**ROW, "thickness_mean_nm": "", "thickness_lower_bound_nm": "14.2", "class": ""}
    assert "at least 14.2 nm" in cohort_html([only_bound])


def test_links_stay_in_the_folder_and_survive_odd_names() -> None:
    links = _Links(cohort_html([ROW])).links
    assert "a%20b/x%231/overview.png" in links
    assert not any(link.startswith(("http", "//", "/")) for link in links)


def test_text_of_files_can_not_become_markup() -> None:
    row = {**ROW, "status": "failed", "folder": "<script>x</script>", "reason": "<b>bad</b> & worse"}
    page = _Links(cohort_html([row]))
    assert "script" not in page.tags
    assert "b" not in page.tags


def test_failures_are_listed_with_their_reason() -> None:
    page = cohort_html([{**ROW, "status": "refused", "reason": "no pixel size"}, ROW])
    assert "refused: no pixel size" in page
    assert "2 micrographs: 1 refused, 1 done" in page


def test_an_empty_cohort() -> None:
    assert "no micrographs" in cohort_html([])
