"""Receipts: what a purchase's says, and which purchase it is."""

import json
from decimal import Decimal

import pytest
from paper import METER
from tests.conftest import require_part

from gashall import errors
from gashall.errors import GasError

require_part("sqlalchemy")
ACCOUNT = "0000000001"


@pytest.fixture
def hall(desk):
    hall = desk.hall()
    hall.set_price(None, "263.15")
    hall.open_shift("Li Ming")
    hall.open_account(desk.blank(), meter=METER, volume=30, name="王芳 <b>")
    desk.meter.insert(desk.card_path)
    hall.sell(desk.card, "20.50")
    return hall


# What is asked for -> purchase, m³, fen.
ASKED = (
    ("the last one", {}, 2, "20.50", 5395),
    ("the opening", {"sequence": 1}, 1, "30.00", 7895),
    ("of its meter", {"sequence": 2, "meter": METER}, 2, "20.50", 5395),
)


@pytest.mark.parametrize(("case", "which", "sequence", "volume", "fen"), ASKED, ids=[row[0] for row in ASKED])
def test_receipt_says_what_the_ledger_says(hall, case, which, sequence, volume, fen):
    told = hall.receipt(ACCOUNT, **which)
    assert (told.sequence, told.volume, told.fen, told.price) == (sequence, Decimal(volume), fen, Decimal("263.15"))
    assert (told.account, told.name, told.meter, told.clerk) == (ACCOUNT, "王芳 <b>", METER, "Li Ming")
    lines = "\n".join(told.lines())
    for text in (f"{volume} m³", f"{fen // 100}.{fen % 100:02} yuan", "2.6315 yuan/m³", "Li Ming", METER):
        assert text in lines, text
    assert "王芳 &lt;b&gt;" in told.page() and "<b>" not in told.page()
    assert json.loads(json.dumps(told.record(), default=str))["yuan"] == f"{fen // 100}.{fen % 100:02}"


def test_receipt_is_the_same_after_the_gas_is_loaded_and_the_price_has_changed(desk, hall):
    before = hall.receipt(ACCOUNT)
    desk.meter.insert(desk.card_path)
    hall.read_back(desk.card)
    hall.set_price(None, 300)
    assert hall.receipt(ACCOUNT).lines() == before.lines()


def test_receipt_and_file_are_by_the_halls_own_clock(hall):
    # A customer who buys at seven in the morning must not read yesterday's date.
    assert "2026-03-01 20:00+08:00" in "\n".join(hall.receipt(ACCOUNT).lines())
    hall.set_limits(utc_offset=-720)
    assert "2026-03-01 00:00-12:00" in "\n".join(hall.receipt(ACCOUNT).lines())
    assert "2026-03-01 00:00-12:00" in "\n".join(hall.history(ACCOUNT).lines())
    hall.set_limits(utc_offset=0)
    assert "2026-03-01 12:00+00:00" in "\n".join(hall.receipt(ACCOUNT).lines())


REFUSED = (
    ("no such account", "0000000009", {}, errors.ACCOUNT_UNKNOWN),
    ("no such purchase", ACCOUNT, {"sequence": 3}, errors.ORDER_MISSING),
    ("another meter", ACCOUNT, {"meter": "00000000000001"}, errors.ORDER_MISSING),
    ("no number", ACCOUNT, {"sequence": 0}, errors.FIELD),
)


@pytest.mark.parametrize(("case", "account", "which", "code"), REFUSED, ids=[row[0] for row in REFUSED])
def test_receipt_of_nothing_is_refused(hall, case, account, which, code):
    with pytest.raises(GasError) as refusal:
        hall.receipt(account, **which)
    assert refusal.value.code == code


def test_make_up_has_no_receipt(desk, hall):
    desk.meter.insert(desk.card_path)
    hall.read_back(desk.card)
    gift = hall.request_gift(ACCOUNT, 2, reason="jubilee", requester="Li Ming")
    hall.approve_grant(gift.number, "Wang")
    hall.write_grant(desk.card, gift.number)
    assert hall.receipt(ACCOUNT).sequence == 2
