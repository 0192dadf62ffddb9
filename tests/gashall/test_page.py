"""The printed page: what is given appears as text, whatever it is."""

from html.parser import HTMLParser

import pytest

from gashall.page import A4, SLIP, WIDE, Table, page


class _Text(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.tags: list[str] = []

    def handle_starttag(self, tag, attrs) -> None:
        self.tags.append(tag)
        if tag == "td":
            self.cells.append("")

    def handle_data(self, data) -> None:
        if self.cells and self.tags[-1] == "td":
            self.cells[-1] += data


def test_page_with_markup_in_its_texts_shows_them_as_text():
    text = page(
        "receipt",
        [Table(("account", "money"), [("<script>x</script>", None), ("王芳", 12)], frozenset({1})), "1 < 2"],
        which="<b>&",
    )
    seen = _Text()
    seen.feed(text)
    assert "script" not in seen.tags and "b" not in seen.tags
    assert "".join(seen.cells).count("<script>x</script>") == 1 and "王芳" in seen.cells
    assert "<p>1 &lt; 2</p>" in text and "<title>Receipt 购气凭证 &lt;b&gt;&amp;</title>" in text


def test_page_needs_nothing_beside_it():
    text = page("receipt", ["x"], sign=("clerk", "approved by"), foot="head 12ab")
    for word in ("http", "src=", "url(", "@import", "<link", "<script"):
        assert word not in text
    assert text.count("<span>") == 2


def test_page_with_an_empty_head_has_no_empty_bar():
    assert "<thead>" not in page("receipt", [Table(("", ""), [("number", 1)])])
    assert "<thead>" in page("receipt", [Table(("kind", "count"), [("number", 1)])])


# Paper -> what its style says and no other's does.
PAPERS = [("A4", A4, "max-width: 175mm"), ("on its side", WIDE, "A4 landscape"), ("receipt", SLIP, "max-width: 72mm")]


@pytest.mark.parametrize(("paper", "style"), [row[1:] for row in PAPERS], ids=[row[0] for row in PAPERS])
def test_paper_is_the_one_asked_for(paper, style):
    text = page("receipt", [], paper=paper)
    # The last rule for the body's width is the one that holds.
    assert text.index(style) >= max(text.find(other) for _, _, other in PAPERS)


# A cell's text -> whether it must stand in one line, whatever is beside it.
WHOLE = [
    ("0000000001", True),
    ("32060012345678", True),
    ("2026-03-01", True),
    ("2026-03-01 12:00+08:00", True),
    ("2026-03-01 12:00-05:00", True),
    ("Wang Fang", False),
    ("12ab" * 16, False),
    ("1" * 40, False),
]


@pytest.mark.parametrize(("cell", "whole"), WHOLE, ids=[row[0] for row in WHOLE])
def test_numbers_and_times_are_not_broken(cell, whole):
    text = page("tool cards", [Table(("account", "purpose"), [(cell, "x")])])
    assert (f'<td class="whole">{cell}</td>' in text) == whole
