"""The price list: which price holds when, what gas costs by it, and whose word the money of a sale is."""

import re
from datetime import UTC, datetime, timedelta, timezone
from decimal import ROUND_HALF_UP, Decimal, localcontext
from pathlib import Path

import pytest
from paper import METER, NEIGHBOUR
from tests.conftest import require_part

from gashall import errors, units
from gashall.errors import LedgerError, RequestError

require_part("sqlalchemy")
from gashall import services  # noqa: E402

DOCS = (Path(__file__).parents[2] / "docs" / "ledger.md").read_text(encoding="utf-8")
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
ACCOUNT = "0000000001"

# m³, fen for one m³, fen. The half is what rounding is about: 0.5 goes up, whatever stands before it.
COSTS = [
    ("0", "263", 0),
    ("0.01", "263", 3),
    ("0.01", "249.99", 2),
    ("0.01", "250", 3),
    ("0.01", "50", 1),
    ("0.01", "49.99", 0),
    ("0.01", "0.01", 0),
    ("0.03", "150", 5),
    ("0.05", "150", 8),
    ("20.5", "263.15", 5395),
    ("10", "263", 2630),
    ("1", "0.5", 1),
    ("1", "0.49", 0),
    ("1", "1.5", 2),
    ("1", "2.5", 3),
    ("83886.07", "999999.99", 83_886_069_161),
    ("8388607", "999999.99", 8_388_606_916_114),
]


class Clock:
    """A hall's clock that the test moves."""

    def __init__(self):
        self.now = NOON

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def hall_of(desk, clock):
    """A run of the hall's program by that clock."""
    hall = desk.hall()
    return services.Hall(hall.ledger, desk.signer, clock)


def orders(hall, account=ACCOUNT):
    with hall.ledger.look() as books:
        return [(order.state, order.fen, order.price) for order in books.orders(account)]


@pytest.mark.parametrize(("volume", "price", "fen"), COSTS)
def test_cost_is_exact_and_rounded_half_up_once(desk, volume, price, fen):
    hall = desk.hall()
    hall.set_price(None, price)
    assert hall.cost(volume) == fen
    with localcontext() as context:
        context.prec = 60
        product = Decimal(volume) * Decimal(price)
        assert fen == int(product.quantize(Decimal(1), ROUND_HALF_UP))


def test_cost_does_not_follow_the_programs_own_precision(desk):
    hall = desk.hall()
    hall.set_price(None, "263.15")
    with localcontext() as context:
        context.prec = 2
        assert hall.cost("20.5") == 5395


def test_table_of_the_documentation_is_right():
    rows = re.findall(
        r"^\| ([\d.]+) \| ([\d.]+) \| ([\d.]+) \| (\d+) \|$", DOCS.split("**Rounding.**")[1], re.MULTILINE
    )
    assert len(rows) == 6
    for volume, yuan, exactly, fen in rows:
        assert Decimal(volume) * Decimal(yuan) * 100 == Decimal(exactly)
        assert units.cost(units.pulses(volume, 2), 2, units.price(Decimal(yuan) * 100)) == int(fen)


@pytest.mark.parametrize("weight", units.PULSE_WEIGHTS)
def test_cost_is_of_the_volume_and_not_of_the_meters_pulses(weight):
    assert units.cost(units.pulses(7, weight), weight, 26_315) == 1842


def test_price_holds_from_its_minute_until_the_next(desk, clock):
    hall = hall_of(desk, clock)
    assert hall.price() is None
    assert hall.prices() == []
    hall.set_price(NOON + 10 * MINUTE, 300)
    first = hall.set_price(None, "263.15")
    assert (first.valid_from, first.fen_per_cubic_metre, first.set_at) == (NOON, Decimal("263.15"), NOON)
    for at, price in (
        (NOON - MINUTE, None),
        (NOON, "263.15"),
        (NOON + timedelta(minutes=9, seconds=59), "263.15"),
        (NOON + 10 * MINUTE, "300"),
        (NOON + 99 * MINUTE, "300"),
    ):
        assert hall.price(at) == (None if price is None else Decimal(price)), at
    assert [row.valid_from for row in hall.prices()] == [NOON, NOON + 10 * MINUTE]
    clock.now += 10 * MINUTE
    assert hall.price() == 300
    assert hall.cost(1) == 300
    assert hall.cost(1, NOON) == 263


def test_price_to_come_is_corrected_by_a_later_row(desk, clock):
    hall = hall_of(desk, clock)
    for price in (300, 3000, 310):
        hall.set_price(NOON + MINUTE, price)
    assert hall.price(NOON + MINUTE) == 310
    assert [row.fen_per_cubic_metre for row in hall.prices()] == [300, 3000, 310]
    assert hall.audit().clean


@pytest.mark.parametrize("zone", [UTC, timezone(timedelta(hours=8))])
def test_price_is_not_set_for_the_past(desk, clock, zone):
    hall = hall_of(desk, clock)
    hall.set_price(None, 250)
    head = hall.audit().head
    with pytest.raises(
        RequestError, match=r"from 2026-03-01 19:59\+08:00: it is 2026-03-01 20:00\+08:00 now"
    ) as refusal:
        hall.set_price((NOON - MINUTE).astimezone(zone), 300)
    assert refusal.value.code == errors.PRICE_PAST
    assert hall.audit().head == head
    hall.set_price(NOON.astimezone(zone), 300)
    assert hall.price() == 300


@pytest.mark.parametrize(
    "price",
    [0, -1, 2.63, True, None, "", "x", "2,63", "0.001", "0.00", "1e3", "-1", "+5", "٣", b"2", "1000000"]
    + [pytest.param(10**5000, id="endless")]
    + [Decimal(text) for text in ("NaN", "Infinity", "-1", "1e999999", "1e-999999", "0.001", "1000000", "0")],
)
def test_price_that_is_none_is_refused(desk, price):
    hall = desk.hall()
    with pytest.raises(RequestError, match="no price of a m³") as refusal:
        hall.set_price(None, price)
    assert refusal.value.code == errors.AMOUNT
    assert hall.prices() == []


@pytest.mark.parametrize(
    ("price", "hundredths"),
    [(1, 100), (263, 26300), ("263", 26300), ("0.01", 1), (" 2.5 ", 250), ("2.500", 250), (Decimal("2.50"), 250)]
    + [(Decimal("2.63e2"), 26300), ("999999.99", 99_999_999), (Decimal("1e2"), 10_000)],
)
def test_price_is_taken_exactly(price, hundredths):
    assert units.price(price) == hundredths
    assert units.price(units.price_fen(hundredths)) == hundredths


def test_price_in_yuan_has_two_decimals_or_four():
    assert [units.price_yuan(count) for count in (26_300, 26_315, 26_310, 1, 99_999_999)] == [
        "2.63",
        "2.6315",
        "2.6310",
        "0.0001",
        "9999.9999",
    ]


def test_time_without_a_zone_is_refused(desk):
    with pytest.raises(RequestError, match="no time zone"):
        desk.hall().set_price(datetime(2027, 1, 1), 250)


def test_cost_without_a_price_is_refused(desk):
    hall = desk.hall()
    hall.set_price(NOON + MINUTE, 250)
    with pytest.raises(LedgerError, match=r"No price is in force at 2026-03-01 20:00\+08:00") as refusal:
        hall.cost(1)
    assert refusal.value.code == errors.PRICE_MISSING
    assert "icgas hall price set" in refusal.value.remedy


@pytest.mark.parametrize("volume", [0.5, "x", "-1", "0.001", None])
def test_cost_of_no_volume_is_refused(desk, volume):
    hall = desk.hall()
    hall.set_price(None, 250)
    with pytest.raises(RequestError):
        hall.cost(volume)


def test_money_is_the_callers_until_a_price_is_in_force(desk, clock):
    hall = hall_of(desk, clock)
    hall.set_price(NOON + MINUTE, 250)
    sale = hall.open_account(desk.blank(), meter=METER, volume=30, fen=1)
    assert (sale.fen, sale.price) == (1, None)
    desk.meter.insert(desk.card_path)
    # A clock that stands wrong, or a list that begins later, gives nothing for nothing.
    with pytest.raises(LedgerError, match=r"No price is in force at 2026-03-01 20:00\+08:00") as refusal:
        hall.sell(desk.card, 20)
    assert refusal.value.code == errors.PRICE_MISSING
    assert hall.sell(desk.card, 20, fen=0).fen == 0


def test_money_left_out_is_computed(desk, clock):
    hall = hall_of(desk, clock)
    hall.set_price(None, "263.15")
    sale = hall.open_account(desk.blank(), meter=METER, volume=30)
    assert (sale.fen, sale.price) == (7895, Decimal("263.15"))
    desk.meter.insert(desk.card_path)
    sale = hall.sell(desk.card, "20.5")
    assert (sale.fen, sale.price) == (5395, Decimal("263.15"))
    assert orders(hall) == [("done", 7895, 26_315), ("written", 5395, 26_315)]
    assert hall.audit().clean


def test_no_gas_costs_nothing(desk):
    hall = desk.hall()
    hall.set_price(None, 250)
    assert hall.open_account(desk.blank(), meter=METER, volume=0).fen == 0


def test_money_that_is_the_prices_is_taken(desk):
    hall = desk.hall()
    hall.set_price(None, 250)
    sale = hall.open_account(desk.blank(), meter=METER, volume=30, fen=7500)
    assert (sale.fen, sale.price) == (7500, 250)


@pytest.mark.parametrize("fen", [0, 7499, 7501])
def test_money_that_differs_is_refused_with_both_sums(desk, fen):
    hall = desk.hall()
    hall.set_price(None, 250)
    told = f"30.00 m³ at 2.50 yuan/m³ cost 75.00 yuan, not {units.yuan(fen)}."
    head = hall.audit().head
    blank = desk.blank()
    before = desk.card_path.read_bytes()
    with pytest.raises(RequestError) as refusal:
        hall.open_account(blank, meter=METER, volume=30, fen=fen)
    assert (refusal.value.code, refusal.value.message) == (errors.PRICE_DIFFERS, told)
    assert "price_agreed" in refusal.value.remedy
    assert (hall.audit().head, desk.card_path.read_bytes()) == (head, before)
    sale = hall.open_account(desk.card, meter=METER, volume=30, fen=fen, price_agreed=True)
    assert (sale.fen, sale.price) == (fen, None)
    desk.meter.insert(desk.card_path)
    hall.read_back(desk.card)
    head, before = hall.audit().head, desk.card_path.read_bytes()
    with pytest.raises(RequestError) as refusal:
        hall.sell(desk.card, 30, fen=fen)
    assert (refusal.value.code, refusal.value.message) == (errors.PRICE_DIFFERS, told)
    assert (hall.audit().head, desk.card_path.read_bytes()) == (head, before)
    assert hall.sell(desk.card, 30, fen=fen, price_agreed=True).fen == fen
    assert hall.audit().clean


def test_agreed_without_another_sum_is_the_prices(desk):
    hall = desk.hall()
    hall.set_price(None, 250)
    assert hall.open_account(desk.blank(), meter=METER, volume=30, price_agreed=True).price == 250


class DeadError(BaseException):
    """The program stops here."""


def dying(reader):
    """Let ``reader`` store three bytes, then stop the program."""
    left = [3]

    def step(plan):
        left[0] -= 1
        if left[0] < 0:
            raise DeadError

    reader.step = step
    return reader


@pytest.mark.parametrize("fen", [None, 5000])
@pytest.mark.parametrize("later", [0, 1])
def test_sale_that_died_keeps_its_money_when_the_price_changes(desk, clock, fen, later):
    hall = hall_of(desk, clock)
    hall.set_price(None, 250)
    hall.open_account(desk.blank(), meter=METER, volume=30)
    desk.meter.insert(desk.card_path)
    with pytest.raises(DeadError):
        hall.sell(dying(desk.card), 20)
    clock.now += later * MINUTE
    hall.set_price(None, 300)
    sale = hall_of(desk, clock).sell(desk.card, 20, fen=fen)
    assert (sale.fen, sale.price, sale.resumed) == (5000, 250, True)
    desk.meter.insert(desk.card_path)
    assert hall.sell(desk.card, 20).fen == 6000
    assert hall.audit().clean


def test_agreed_sale_that_died_is_not_finished_as_the_lists(desk, clock):
    hall = hall_of(desk, clock)
    hall.set_price(None, 250)
    hall.open_account(desk.blank(), meter=METER, volume=30)
    desk.meter.insert(desk.card_path)
    with pytest.raises(DeadError):
        hall.sell(dying(desk.card), 20, fen=4000, price_agreed=True)
    with pytest.raises(RequestError) as refusal:
        hall.sell(desk.card, 20)
    assert refusal.value.code == errors.ORDER_FINISHED
    assert orders(hall)[-1] == ("written", 4000, None)


@pytest.mark.parametrize("fen", [None, 7500])
def test_opening_that_died_keeps_its_money_when_the_price_changes(desk, clock, fen):
    hall = hall_of(desk, clock)
    hall.set_price(None, 250)
    with pytest.raises(DeadError):
        hall.open_account(dying(desk.blank()), meter=METER, volume=30)
    clock.now += MINUTE
    hall.set_price(None, 300)
    sale = hall_of(desk, clock).open_account(desk.card, meter=METER, volume=30, fen=fen)
    assert (sale.fen, sale.price, sale.resumed) == (7500, 250, True)
    assert hall.open_account(desk.blank("other.bin"), meter=NEIGHBOUR, volume=30).fen == 9000


def test_price_that_changes_between_two_looks_is_judged_again(desk, clock):
    """The sum was right when the card was read; when the order is made it no longer is."""
    hall = hall_of(desk, clock)
    hall.set_price(None, 250)
    hall.set_price(NOON + MINUTE, 300)
    hall.open_account(desk.blank(), meter=METER, volume=30)
    desk.meter.insert(desk.card_path)
    reader = desk.card
    present = reader.present

    def slow(*words, **options):
        clock.now = NOON + MINUTE
        return present(*words, **options)

    reader.present = slow
    with pytest.raises(RequestError) as refusal:
        hall.sell(reader, 20, fen=5000)
    assert refusal.value.code == errors.PRICE_DIFFERS
    assert len(orders(hall)) == 1


def test_damaged_price_is_named(desk):
    hall = desk.hall()
    hall.set_price(None, 250)
    with hall.ledger.begin() as books:
        books._connection.exec_driver_sql("UPDATE prices SET price = 0")
    with pytest.raises(LedgerError, match=r"damaged: prices\.price holds '0'"):
        hall.price()
