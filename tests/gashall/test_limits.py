"""Limits of a purchase, a day and a month: what they count, when they begin, what they refuse and what they do not."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from paper import METER, NEIGHBOUR
from tests.conftest import require_part

from gashall import errors
from gashall.errors import LedgerError, RequestError

require_part("sqlalchemy")
from gashall import services  # noqa: E402
from gashall.limits import UTC_OFFSET, Limits  # noqa: E402

NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class Counter:
    """A hall by a clock the test moves, and its first customer's card."""

    def __init__(self, desk, now=NOON):
        self.desk = desk
        self.now = now
        self.hall = services.Hall(desk.hall().ledger, desk.signer, lambda: self.now)

    def open(self, volume, **particulars):
        self.hall.open_account(self.desk.blank(), meter=METER, volume=volume, **particulars)
        self.desk.meter.insert(self.desk.card_path)

    def sell(self, volume):
        sale = self.hall.sell(self.desk.card, volume)
        self.desk.meter.insert(self.desk.card_path)
        return sale

    def refused(self, volume, message, remedy):
        self.hall.read_back(self.desk.card)
        head, card = self.hall.audit().head, self.desk.card_path.read_bytes()
        with pytest.raises(RequestError) as refusal:
            self.hall.sell(self.desk.card, volume)
        assert refusal.value.code == errors.OVER_LIMIT
        assert message in refusal.value.message
        assert refusal.value.remedy.startswith(remedy)
        assert (self.hall.audit().head, self.desk.card_path.read_bytes()) == (head, card)


@pytest.fixture
def counter(desk):
    return Counter(desk)


def test_new_ledger_has_no_limits(counter):
    assert counter.hall.limits() == Limits(None, None, None, UTC_OFFSET)


def test_limits_are_set_one_by_one_and_taken_away(counter):
    hall = counter.hall
    assert hall.set_limits(purchase=50, month="100.5") == Limits(Decimal("50.00"), None, Decimal("100.50"), 480)
    assert hall.set_limits(day=60) == Limits(Decimal("50.00"), Decimal("60.00"), Decimal("100.50"), 480)
    assert hall.set_limits(purchase=None, utc_offset=0) == Limits(None, Decimal("60.00"), Decimal("100.50"), 0)
    assert hall.audit().clean


def test_limit_set_again_as_it_stands_is_no_change(counter):
    counter.hall.set_limits(day=60)
    head = counter.hall.audit().head
    counter.hall.set_limits(day="60.00")
    counter.hall.set_limits()
    assert counter.hall.audit().head == head


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ({"day": 0}, errors.AMOUNT),
        ({"day": "x"}, errors.AMOUNT),
        ({"day": 0.5}, errors.AMOUNT),
        ({"day": "0.001"}, errors.NOT_WHOLE_PULSES),
        ({"week": 5}, errors.FIELD),
        ({"utc_offset": 841}, errors.FIELD),
        ({"utc_offset": "480"}, errors.FIELD),
        ({"purchase": 5, "month": -1}, -22),
    ],
)
def test_limit_that_is_none_is_refused_and_nothing_is_set(counter, limits, code):
    head = counter.hall.audit().head
    with pytest.raises(RequestError) as refusal:
        counter.hall.set_limits(**limits)
    assert refusal.value.code == code
    assert counter.hall.audit().head == head


def test_purchase_is_limited_to_the_pulse(counter):
    counter.open(1)
    counter.hall.set_limits(purchase="12.34")
    counter.refused(
        "12.35", "12.35 m³ cannot be sold: the limit of a purchase is 12.34 m³.", "Sell at most 12.34 m³, or"
    )
    counter.sell("12.34")
    counter.sell("12.34")


def test_day_counts_the_opening_and_every_sale(counter):
    counter.hall.set_limits(day=50)
    counter.open(30)
    counter.sell(15)
    told = "the limit of a day is 50.00 m³, and 45.00 m³ were bought in this day."
    counter.refused("5.01", told, "Sell at most 5.00 m³, or")
    counter.sell(5)
    counter.refused("0.01", "and 50.00 m³ were bought", "Sell nothing more in this day, or")


def test_limit_below_what_was_bought_leaves_nothing(counter):
    counter.open(30)
    counter.hall.set_limits(day=10)
    counter.refused("0.01", "and 30.00 m³ were bought", "Sell nothing more")


@pytest.mark.parametrize(
    ("offset", "last", "first"),
    [
        (480, datetime(2026, 3, 1, 15, 59, tzinfo=UTC), datetime(2026, 3, 1, 16, 0, tzinfo=UTC)),
        (0, datetime(2026, 3, 1, 23, 59, tzinfo=UTC), datetime(2026, 3, 2, 0, 0, tzinfo=UTC)),
        (-210, datetime(2026, 3, 2, 3, 29, tzinfo=UTC), datetime(2026, 3, 2, 3, 30, tzinfo=UTC)),
    ],
)
def test_day_begins_at_the_halls_midnight(counter, offset, last, first):
    counter.hall.set_limits(day=30, utc_offset=offset)
    counter.open(30)
    counter.now = last
    counter.refused(1, "this day", "Sell nothing")
    counter.now = first
    counter.sell(30)


def test_month_begins_at_the_halls_first_midnight(desk):
    counter = Counter(desk, datetime(2026, 2, 28, 16, 0, tzinfo=UTC))  # 1 March, 00:00 in China
    counter.hall.set_limits(month=40)
    counter.open(30)
    counter.now = datetime(2026, 3, 31, 15, 59, tzinfo=UTC)
    counter.refused(
        "10.01", "limit of a month is 40.00 m³, and 30.00 m³ were bought in this month", "Sell at most 10.00"
    )
    counter.now = datetime(2026, 3, 31, 16, 0, tzinfo=UTC)
    counter.sell(40)
    counter.refused("0.01", "this month", "Sell nothing more in this month")


def test_what_the_last_month_bought_does_not_count(desk):
    counter = Counter(desk, datetime(2026, 2, 28, 15, 59, tzinfo=UTC))
    counter.open(30)
    counter.now += timedelta(minutes=1)
    counter.hall.set_limits(month=30, day=30)
    counter.sell(30)


def test_narrowest_limit_is_the_one_that_is_named(counter):
    counter.hall.set_limits(purchase=30, day=35, month=36)
    counter.open(30)
    counter.refused(31, "limit of a day", "Sell at most 5.00")  # what is said to be left is sold without another word
    counter.refused(6, "limit of a day", "Sell at most 5.00")
    counter.sell(5)
    counter.now += timedelta(days=1)
    counter.refused(2, "limit of a month", "Sell at most 1.00")


def test_another_customer_has_a_day_of_his_own(desk, counter):
    counter.hall.set_limits(day=30)
    counter.open(30)
    assert counter.hall.open_account(desk.blank("other.bin"), meter=NEIGHBOUR, volume=30).account == "0000000002"


@pytest.mark.parametrize("account", [None, "0000000007"])
@pytest.mark.parametrize("period", ["purchase", "day", "month"])
def test_first_gas_is_limited(desk, counter, period, account):
    counter.hall.set_limits(**{period: 30})
    blank = desk.blank()
    before = desk.card_path.read_bytes()
    with pytest.raises(RequestError) as refusal:
        counter.hall.open_account(blank, meter=METER, volume="30.01", account=account)
    assert refusal.value.code == errors.OVER_LIMIT
    assert desk.card_path.read_bytes() == before
    assert counter.hall.open_account(desk.card, meter=METER, volume=30, account=account).pulses == 3000


@pytest.mark.parametrize(("weight", "volume"), [(0, 31), (1, "30.1"), (2, "30.01")])
def test_limit_is_of_the_volume_and_not_of_the_meters_pulses(desk, counter, weight, volume):
    counter.hall.set_limits(day=50)
    counter.open(20, pulse_weight=weight)
    counter.refused(volume, "this day", "Sell at most 30.00")
    counter.sell(30)


class DeadError(BaseException):
    """The program stops here."""


def test_sale_that_died_is_finished_whatever_the_limits_say_now(desk, counter):
    counter.open(30)
    reader, left = desk.card, [3]

    def dead(plan):
        left[0] -= 1
        if left[0] < 0:
            raise DeadError

    reader.step = dead
    with pytest.raises(DeadError):
        counter.hall.sell(reader, 20)
    counter.hall.set_limits(purchase=1, day=1, month=1)
    assert counter.sell(20).resumed


def test_damaged_setting_is_named(counter):
    counter.hall.set_limits(day=5)
    with counter.hall.ledger.begin() as books:
        books._connection.exec_driver_sql("UPDATE settings SET value = 'x'")
    with pytest.raises(LedgerError, match=r"damaged: settings\.value holds 'x'"):
        counter.hall.limits()
