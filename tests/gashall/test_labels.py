"""Printed paper in English and Chinese: every page there is, and the one table of labels."""

import ast
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from paper import METER, NEIGHBOUR
from test_tool_cards import Stand
from tests.conftest import require_part

from gascard import codes
from gashall import labels
from gashall.labels import CHINESE, both, columns, pad

require_part("sqlalchemy")
import gashall  # noqa: E402
from gashall import batch, exchange, grants, overview, reporting, toolcards, units  # noqa: E402
from gashall.exchange import NewMeter  # noqa: E402
from gashall.readers import FileReader  # noqa: E402
from gashall.terms import TOOL_CARDS  # noqa: E402

ACCOUNT = "0000000001"
ASKED = {"reason": "x", "requester": "Li Ming"}
PEOPLE = {**ASKED, "approver": "Wang Fang"}
CJK = re.compile("[\u4e00-\u9fff]")


class Words(HTMLParser):
    """What stands on a page: the texts of its labels (title, heads, lines to sign on, paragraphs) and of its cells."""

    def __init__(self, text):
        super().__init__()
        self.labels, self.cells, self.open = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        if tag in ("title", "h1", "th", "span", "p"):
            self.labels.append("")
            self.open.append(self.labels)
        elif tag == "td":
            self.cells.append("")
            self.open.append(self.cells)

    def handle_endtag(self, tag):
        if tag in ("title", "h1", "th", "span", "p", "td"):
            self.open.pop()

    def handle_data(self, data):
        if self.open:
            self.open[-1][-1] += data


# ---------------------------------------------------------------------- every page


def receipts(desk):
    hall = desk.hall()
    hall.set_price(None, "263.15")
    hall.open_shift("Li Ming")
    hall.open_account(desk.blank(), meter=METER, volume=30, name="Li Wei")
    yield hall.receipt(ACCOUNT).page()


def slips(desk):
    """Make-up, gift and refund, from the request to the end."""
    hall = desk.opened()
    hall.read_back(desk.card)
    makeup = hall.request_makeup(ACCOUNT, 5, kind="loss", **ASKED).number
    yield hall.grant(makeup).page()
    yield hall.approve_grant(makeup, "Wang Fang").page()
    hall.write_grant(desk.card, makeup)
    yield hall.grant(makeup).page()
    desk.meter.insert(desk.card_path)
    hall.read_back(desk.card)
    gift = hall.request_gift(ACCOUNT, 2, **ASKED).number
    hall.cancel_grant(gift)
    yield hall.grant(gift).page()
    refund = hall.request_refund(ACCOUNT, 3, fen=750, **ASKED).number
    hall.approve_grant(refund, "Wang Fang")
    hall.write_grant(desk.card, refund)
    desk.meter.bought = 3200
    desk.meter.insert(desk.card_path)
    hall.read_back(desk.card)
    yield hall.pay_refund(refund).page()


def shift(desk):
    hall = desk.hall()
    hall.stock_in(5)
    hall.open_shift("Li Ming")
    yield hall.shift().page()
    hall.stock_out(2)
    hall.open_account(desk.blank(), meter=METER, volume=30)
    yield hall.close_shift(100, cards=0, differs="miscounted").page()


def reports(desk):
    hall = desk.opened()
    hall.read_back(desk.card)
    hall.stock_in(1)
    hall.stock_spoiled(1)
    number = hall.request_makeup(ACCOUNT, 5, kind="other", **ASKED).number
    hall.approve_grant(number, "Wang Fang")
    hall.write_grant(desk.card, number)
    yield hall.daily_report().page()
    yield hall.monthly_report().page()


def accounts(desk):
    hall = desk.opened()
    hall.open_account(desk.blank("b.bin"), meter=NEIGHBOUR, volume=1)
    hall.read_back(desk.card)
    rows = hall.reconcile_list({ACCOUNT: "2"})
    assert {row.category.value for row in rows} == {"apart", "no report yet"}
    yield overview.printed(rows, units.moment(hall.counter.now()), "12ab")


def tools(desk):
    hall = desk.hall()
    hall.add_meter(METER)
    hall.issue_management(desk.blank("m.bin"), purpose="round")
    hall.issue_test(desk.blank("t.bin"), meter=METER, volume=1, purpose="bench")
    yield toolcards.printed(hall.tools(), units.moment(hall.counter.now()))


def estate(desk):
    """A row whose first card fails and one whose cards all do; and the first once more."""
    hall = desk.hall()
    hall.open_account(desk.blank("bad.bin"), meter="32060012345680", volume=1)
    bad = FileReader(desk.folder / "bad.bin")
    file = desk.folder / "estate.csv"
    file.write_text(f"meter,name,volume,initial_reading\n{METER},Li Wei,30,0\n{NEIGHBOUR},,5,0\n", "utf-8")
    for cards in ([bad, desk.blank(), bad, bad, bad], [desk.blank("other.bin")]):
        yield batch.printed(hall.batch(file, lambda cards=cards: cards.pop(0), resume=True))


def exchanged_and_closed(desk):
    """By transfer card with a real meter, and closed at the new one."""
    hall, old, new = desk.hall(), Stand(desk.signer), Stand(desk.signer, NEIGHBOUR)

    def show(stand, name):
        path = desk.folder / name
        code, image = stand.visit(path.read_bytes())
        path.write_bytes(image)
        assert code == codes.OK

    hall.open_account(desk.blank(), meter=METER, volume=30, fen=7500)
    show(old, "card.bin")
    hall.read_back(desk.card)
    yield hall.begin_exchange(desk.blank("out.bin"), account=ACCOUNT, meter=NewMeter(NEIGHBOUR, 0), **PEOPLE).page()
    show(old, "out.bin")
    show(new, "out.bin")
    transfer = FileReader(desk.folder / "out.bin")
    yield hall.read_exchange(transfer).page()
    yield hall.exchange_card(desk.card).page()
    show(new, "card.bin")
    hall.read_back(desk.card)
    hall.issue_clear(desk.blank("clear.bin"), account=ACCOUNT, **PEOPLE)
    show(new, "clear.bin")
    hall.read_tool(FileReader(desk.folder / "clear.bin"))
    yield hall.close_account(ACCOUNT, **PEOPLE).page()


# The pages, and the modules of gashall that make them.
PAGES = [
    (receipts, ["receipt"]),
    (slips, ["grants"]),
    (shift, ["shifts"]),
    (reports, ["reporting"]),
    (accounts, ["overview"]),
    (tools, ["toolcards"]),
    (estate, ["batch"]),
    (exchanged_and_closed, ["exchange", "closing"]),
]


@pytest.mark.parametrize("pages", [row[0] for row in PAGES], ids=["+".join(row[1]) for row in PAGES])
def test_every_label_of_a_page_is_in_both_languages(desk, pages):
    for text in pages(desk):
        words = Words(text)
        assert len(words.labels) > 4 and not words.open
        for label in words.labels:
            assert CJK.search(label) and re.search("[A-Za-z]", label), label
            # The Chinese beside the English is the table's.
            english = re.match("[^\u4e00-\u9fff]*[A-Za-z³]", label).group()
            known = both(english if english in CHINESE else english[0].lower() + english[1:])
            assert label.lower().startswith(known.lower()), label
        for cell in words.cells:
            if cell in CHINESE:
                pytest.fail(f"the cell {cell!r} is in one language")
        assert '<meta charset="utf-8">' in text and "@page" in text
        for outside in ("http", "src=", "url(", "@import", "<link", "<script"):
            assert outside not in text


def test_every_module_that_makes_a_page_is_in_the_list_above():
    makers = []
    for path in sorted(Path(gashall.__file__).parent.glob("*.py")):
        calls = [node.func for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call)]
        if path.name != "page.py" and "page" in [call.id for call in calls if isinstance(call, ast.Name)]:
            makers.append(path.stem)
    assert makers == sorted(name for _, names in PAGES for name in names)


# ---------------------------------------------------------------------- the table

# Where the words come from -> all that may be printed.
WORDS = [
    ("kinds in a report", reporting.WORDS.values()),
    ("kinds of grants", (*grants.KINDS, "makeup", "close")),
    (
        "how far a grant is",
        ("requested", "approved", "unfinished", "on the card", "loaded", "paid", "cancelled"),
    ),
    ("accounts against their meters", [category.value for category in overview.Category]),
    ("kinds of tool cards", TOOL_CARDS),
    ("how far a tool card is", ("unfinished", "out", "read", "taken back")),
    ("rows of a batch", (batch.OPENED, batch.EARLIER, batch.FAILED, batch.NOT_OPENED)),
    ("how far an exchange is", (exchange.BEGUN, exchange.READ, exchange.DEAD, exchange.THROUGH)),
]


@pytest.mark.parametrize("words", [row[1] for row in WORDS], ids=[row[0] for row in WORDS])
def test_every_word_a_page_may_say_is_in_the_table(words):
    assert words
    for word in words:
        assert both(word) == f"{word} {CHINESE[word]}"


def test_every_term_is_chinese_and_used():
    source = "".join(path.read_text("utf-8") for path in Path(gashall.__file__).parent.glob("*.py"))
    for english, chinese in CHINESE.items():
        assert CJK.match(chinese) and not CJK.search(english), english
        # In the table, and where it is used; "blank cards left", "clear cards" and the list's heads are put together.
        word = english.removeprefix("blank cards ").removesuffix(" cards").replace("m³", "m3")
        uses = sum(len(re.findall(f"([\"']){re.escape(form)}\\1", source)) for form in {english, word})
        assert uses > 1, english


def test_label_without_a_chinese_term_is_a_mistake():
    with pytest.raises(KeyError):
        both("colour")


def test_columns_count_a_chinese_character_twice():
    assert columns("gas 气量") == 8
    assert pad("gas 气量", 10) == "gas 气量  "
    assert labels.pad("gas", 3) == "gas"
