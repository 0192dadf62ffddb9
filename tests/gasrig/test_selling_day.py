"""A selling day that is killed at 200 instants loses nothing; planted faults show that it would be seen."""

import os

import pytest
from tests.conftest import require_part

from gascard.records import ORDER_AT

require_part("sqlalchemy")
from gashall.counter import Counter  # noqa: E402
from gashall.services import Hall  # noqa: E402
from gashall.terms import PENDING, WRITTEN  # noqa: E402
from gasrig.selling_day import Blow, Clerk, make_plan, run_day  # noqa: E402

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="a day is killed where there is fork")

KILLS = 200
SEEDS = range(1, 3 + int(os.environ.get("ICGAS_DAYS", "0")))


@pytest.mark.parametrize("seed", SEEDS)
def test_day_killed_at_200_instants_loses_nothing(seed, tmp_path):
    course = run_day(seed, KILLS, tmp_path)
    assert course.faults == []
    assert len(course.fell) == KILLS
    # Where they fell: inside services, inside writes to cards, and between a service's return and its slip.
    assert course.within("service", "card") >= KILLS // 2
    assert course.within("card") >= KILLS // 5
    assert course.within("returned") >= KILLS // 10
    assert sum(fell.stored > 2 for fell in course.fell) >= KILLS // 10
    services = [fell.service for fell in course.fell]
    assert min(services) < 30
    assert max(services) > 190
    # And what the clerk met with: his sale finished, his sale told of, and customers who had been away.
    assert course.hows["sell resumed"] > 0
    assert course.hows["sell told"] > 0
    assert course.away > 0


def test_plan_is_the_same_for_one_seed_and_holds_every_kind():
    plan = make_plan(1)
    assert plan == make_plan(1) != make_plan(2)
    kinds = [service["kind"] for service in plan["services"]]
    assert [service["id"] for service in plan["services"]] == list(range(len(kinds)))
    assert set(kinds) == {
        *("price", "stock in", "stock out", "open shift", "close shift"),
        *("open", "visit", "sell", "refused", "read", "reconcile"),
    }
    assert kinds.count("sell") > 60


# ---------------------------------------------------------------------- one kill, and what the clerk makes of it


def small(*sales):
    """A plan of one customer who opens with 20 m³ and then buys."""
    plan = [
        {"kind": "price", "price": 26355},
        {"kind": "stock in", "count": 10},
        {"kind": "open shift", "clerk": "Wang Fang"},
        {"kind": "stock out", "count": 5},
        {"kind": "open", "customer": 0, "pulses": 2000},
    ]
    for pulses in sales:
        plan += [{"kind": "visit", "customer": 0, "burn": 100}, {"kind": "sell", "customer": 0, "pulses": pulses}]
    plan.append({"kind": "close shift", "clerk": "Wang Fang"})
    services = [{"id": number} | service for number, service in enumerate(plan)]
    customers = [{"meter": "32060012345678", "index": 4321, "name": "Li Wei"}]
    return {"seed": 0, "customers": customers, "services": services}


OPEN, SELL = 4, 6  # where these services stand in the small plan
LAST_PASSWORD_BYTE = 87  # of the 90 bytes that opening stores: two more are the try of the new password


@pytest.mark.parametrize(
    ("rule", "blows", "hows", "aside"),
    [
        ("price: asked for first", [Blow("returned", 0)], {"price found": 1}, 0),
        ("stock: compared with the delivery notes", [Blow("returned", 1)], {"stock in found": 1}, 0),
        ("shift: SHIFT_OPEN names whose", [Blow("returned", 2)], {"open shift told": 1}, 0),
        ("stock: compared with the shift's slip", [Blow("returned", 3)], {"stock out found": 1}, 0),
        ("opening: ALREADY_BOUND names meter and order", [Blow("returned", OPEN)], {"open told": 1}, 0),
        ("opening: finished on the half-made card", [Blow("byte", OPEN, byte=40)], {"open resumed": 1}, 0),
        (
            "opening: a half-made card that has lost its password is put aside, and spoiled by the shift's end",
            [Blow("byte", OPEN, byte=LAST_PASSWORD_BYTE), Blow("byte", OPEN, byte=2)],
            {"open resumed": 1},
            1,
        ),
        ("sale: GAS_ON_CARD names the order", [Blow("returned", SELL)], {"sell told": 1}, 0),
        ("sale: finished", [Blow("byte", SELL, byte=5)], {"sell resumed": 1}, 0),
        ("sale: a last try is spent when the clerk says so", [Blow("byte", SELL, byte=1)] * 2, {"sell sold": 1}, 0),
        ("sale: nothing was begun", [Blow("byte", SELL, byte=0)], {"sell sold": 1}, 0),
        ("shift: its slip can be had again", [Blow("returned", 9)], {"close shift told": 1}, 0),
    ],
)
def test_clerk_takes_up_what_was_not_confirmed(rule, blows, hows, aside, tmp_path):
    plan = small(2000, 500)
    course = run_day(0, 0, tmp_path, plan=plan, blows=blows)
    assert course.faults == []
    assert len(course.fell) == len(blows)
    assert (course.hows, course.aside) == (hows, aside)


# ---------------------------------------------------------------------- planted faults


def written_before_the_card(monkeypatch):
    """The row says written before the card is, and nobody reads back."""

    def write_order(self, reader, card, order):
        with self.ledger.begin() as books:
            books.mark_written(order.id)
        reader.write(ORDER_AT, order.frame)

    monkeypatch.setattr(Counter, "write_order", write_order)


def booked_after_the_card(monkeypatch):
    """The row comes into the ledger only when the card is written."""
    real_book, real_write = Counter.book, Counter.write_order
    missing = []

    def book(self, books, standing, count, terms):
        order = real_book(self, books, standing, count, terms)
        sql = books._connection.exec_driver_sql
        missing[:] = [tuple(sql("SELECT * FROM orders WHERE id = ?", (order.id,)).one())]
        sql("DELETE FROM orders WHERE id = ?", (order.id,))
        return order

    def write_order(self, reader, card, order):
        if missing:
            reader.write(ORDER_AT, order.frame)
            with self.ledger.begin() as books:
                places = ", ".join("?" * len(missing[0]))
                books._connection.exec_driver_sql(f"INSERT INTO orders VALUES ({places})", missing.pop())
        real_write(self, reader, card, order)

    monkeypatch.setattr(Counter, "book", book)
    monkeypatch.setattr(Counter, "write_order", write_order)


def pending_deleted_at_start(monkeypatch):
    """A program that starts takes unfinished orders for remains."""
    real = Hall.open

    def open_hall(*args, **options):
        hall = real(*args, **options)
        with hall.ledger.begin() as books:
            books._connection.exec_driver_sql("DELETE FROM orders WHERE state = ?", (PENDING,))
        return hall

    monkeypatch.setattr(Hall, "open", open_hall)


def pending_skipped(monkeypatch):
    """The row says written at once: nobody finishes what was begun."""
    monkeypatch.setattr("gashall.books.PENDING", WRITTEN)


def made_anew_when_resumed(monkeypatch):
    """What was begun is finished by a second order beside the first."""
    real = Counter.judge

    def judge(self, books, card, **options):
        standing = real(self, books, card, **options)
        if standing.last.state == PENDING and standing.last.sequence > 1:
            books.mark_done(standing.binding.id, standing.last.sequence, standing.last.released_pulses)
            standing = real(self, books, card, reading=True)
        return standing

    monkeypatch.setattr(Counter, "judge", judge)


def repeated_blindly(monkeypatch):
    """The clerk sells again although the customer has been at his meter meanwhile."""
    monkeypatch.setattr(Clerk, "_was_away", lambda self, service: False)


PLANTED = [
    written_before_the_card,
    booked_after_the_card,
    pending_deleted_at_start,
    pending_skipped,
    made_anew_when_resumed,
    repeated_blindly,
]


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_planted_fault_is_found_within_200_kills(plant, monkeypatch, tmp_path):
    plant(monkeypatch)
    course = run_day(1, KILLS, tmp_path)
    # Found by the kills: on a day that nobody disturbs nothing is wrong.
    assert course.fell
    assert course.faults
    assert (tmp_path / "day").exists()


def test_delivery_booked_twice_is_found(monkeypatch, tmp_path):
    monkeypatch.setattr(Clerk, "_stock_in", lambda self, service, again: {"left": self.hall.stock_in(10).store})
    course = run_day(0, 0, tmp_path, plan=small(500), blows=[Blow("returned", 1)])
    assert [fault.partition(":")[0] for fault in course.faults] == ["stock"]
