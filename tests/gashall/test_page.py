"""The printed page: what is given appears as text, whatever it is."""

from html.parser import HTMLParser

from gashall.page import Table, page


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
    text = page("<b>&", [Table(("a", "b"), [("<script>x</script>", None), ("王芳", 12)], frozenset({1})), "1 < 2"])
    seen = _Text()
    seen.feed(text)
    assert "script" not in seen.tags and "b" not in seen.tags
    assert "".join(seen.cells).count("<script>x</script>") == 1 and "王芳" in seen.cells
    assert "<p>1 &lt; 2</p>" in text and "<title>&lt;b&gt;&amp;</title>" in text


def test_page_needs_nothing_beside_it():
    text = page("t", ["x"], sign=("clerk", "approved by"), foot="head 12ab")
    assert "http" not in text and "src=" not in text and text.count("<span>") == 2


def test_page_with_an_empty_head_has_no_empty_bar():
    assert "<thead>" not in page("t", [Table(("", ""), [("number", 1)])])
    assert "<thead>" in page("t", [Table(("", "count"), [("number", 1)])])


def test_page_of_many_columns_lies_on_its_side():
    assert "landscape" in page("t", [], wide=True) and "landscape" not in page("t", [])
