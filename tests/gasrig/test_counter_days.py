"""Plain days at the counter: each goes as it must, and what follows the journal sees what is wrong in it."""

import pytest
from tests.conftest import require_part

for part in ("sqlalchemy", "alembic"):
    require_part(part)
from gasrig import counter_days  # noqa: E402
from gasrig.checkers import Violation  # noqa: E402
from gasrig.counter_days import DAYS, Day, follow  # noqa: E402


@pytest.mark.parametrize("name", DAYS)
def test_day_goes_as_the_rules_say(name):
    counter_days.play(name)


@pytest.fixture
def day():
    day = Day()
    yield day
    day.close()


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("UPDATE orders SET fen = 7", "orders, fen"),
        ("UPDATE cards SET issued = 0", "cards, issued"),
        ("UPDATE accounts SET name = 'Wang'", "accounts, name"),
        ("UPDATE reports SET report_number = 9", "the journal does not say"),
        ("INSERT INTO prices (id, valid_from, price, set_at) VALUES (1, 2, 3, 4)", "prices"),
    ],
)
def test_follow_sees_a_cell_the_journal_does_not_say(day, sql, told):
    follow(day.ledger.connection.execute)
    day.ledger.connection.execute(sql)
    with pytest.raises(Violation, match=told):
        follow(day.ledger.connection.execute)


def test_refusal_that_writes_or_does_not_come_is_seen(day):
    sell = lambda: day.hall.sell(day.reader(), 1)  # noqa: E731
    with pytest.raises(Violation, match="refusal: a sale: not refused as OVER_LIMIT"):
        day.refused(-134, "a sale", sell)
    with pytest.raises(Violation, match="refusal: a sale: GAS_ON_CARD, not OVER_LIMIT"):
        day.refused(-134, "a sale", sell)
