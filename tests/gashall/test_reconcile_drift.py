"""A reading of the wheels against the newest report: the verdict, what it starts from, and that it is kept."""

import pytest
from paper import METER
from tests.conftest import require_part

from gascard import codes
from gascard.records import REPORT_AT
from gashall import errors, units
from gashall.drift import Verdict
from gashall.errors import RequestError

require_part("sqlalchemy")
from gashall.encode import decode_card  # noqa: E402
from gashall.rows import ReportRow  # noqa: E402

ACCOUNT = "0000000001"
AGREES, EXPLAINED, APART = Verdict


class Visit:
    """A customer whose meter has counted 200 pulses; ``report`` brings a further report of it to the hall."""

    def __init__(self, desk):
        self.desk, self.hall = desk, desk.opened()
        self.desk.meter.used = 200

    def report(self, **fields):
        meter = self.desk.meter
        meter.report_number += 1
        image = bytearray(self.desk.card_path.read_bytes())
        slot = 1 if decode_card(bytes(image)).newest_report is decode_card(bytes(image)).reports[0] else 0
        frame = meter.report(**fields)
        image[REPORT_AT[slot] : REPORT_AT[slot] + len(frame)] = frame
        self.desk.card_path.write_bytes(image)
        self.hall.read_back(self.desk.card)

    def kept(self):
        with self.hall.ledger.look() as books:
            return books.comparisons(METER)


@pytest.fixture
def visit(desk):
    return Visit(desk)


# Rule; power failures by the report, reading -> verdict, drift, allowed, correction.
FIRST = [
    ("DOMAIN 2: the index says the same", 0, "2.00", AGREES, 0, 1, 0),
    ("DOMAIN 2: within one pulse", 0, "2.01", AGREES, 1, 1, 0),
    ("DOMAIN 1.1: the mechanical index is the truth", 0, "2.05", APART, 5, 1, 5),
    ("DOMAIN 1.1: so it is where the meter counted too much", 0, "1.90", APART, -10, 1, -10),
    ("fault model: each power cut may add one", 4, "2.05", EXPLAINED, 5, 5, 5),
    ("fault model: and no more than one", 3, "2.05", APART, 5, 4, 5),
]


@pytest.mark.parametrize(
    ("failures", "reading", "verdict", "drift", "allowed", "correction"),
    [row[1:] for row in FIRST],
    ids=[row[0] for row in FIRST],
)
def test_first_comparison_has_its_verdict(visit, failures, reading, verdict, drift, allowed, correction):
    visit.report(power_failures=failures)
    told = visit.hall.reconcile(ACCOUNT, reading)
    found = told.drift
    assert (found.verdict, found.drift, found.allowed, found.correction) == (verdict, drift, allowed, correction)
    text = "\n".join(told.lines())
    counts = units.counted(drift, "pulse"), units.counted(allowed, "pulse")
    assert f"index: {verdict.value}; drift {counts[0]}, {counts[1]} allowed" in text
    assert ("proposed correction" in text) == (correction != 0)
    (row,) = visit.kept()
    assert (row.binding, row.report_number, row.power_failures) == (1, 2, failures)
    assert (row.verdict, row.drift, row.settled) == (verdict.name.lower(), drift, 0)
    assert visit.hall.audit().clean


# Rule; (failures, correction the meter has taken, reading) of each visit -> verdict and drift of the last.
LATER = [
    ("cuts are counted from the last comparison", [(4, 0, "2.05"), (4, 0, "2.05")], APART, 5),
    ("so newer cuts explain only what is newer", [(4, 0, "2.01"), (8, 0, "2.05")], EXPLAINED, 5),
    ("RULES 1: correction: what was settled is not found again", [(4, 0, "2.05"), (4, 5, "2.05")], AGREES, 0),
    ("RULES 1: correction: in either direction", [(0, 0, "1.90"), (0, -10, "1.90")], AGREES, 0),
    ("what came since is found", [(4, 0, "2.05"), (5, 5, "2.07")], EXPLAINED, 2),
    ("a meter that lost its count begins anew", [(9, 0, "2.00"), (2, 0, "2.03")], EXPLAINED, 3),
]


@pytest.mark.parametrize(("visits", "verdict", "drift"), [row[1:] for row in LATER], ids=[row[0] for row in LATER])
def test_later_comparison_starts_from_the_last_one(visit, visits, verdict, drift):
    for failures, correction, reading in visits:
        visit.report(power_failures=failures, correction_total=correction)
        found = visit.hall.reconcile(ACCOUNT, reading).drift
    assert (found.verdict, found.drift) == (verdict, drift)
    assert len(visit.kept()) == len(visits)


def test_the_same_comparison_asked_twice_says_the_same_and_is_kept_once(visit):
    visit.report(power_failures=4)
    first = visit.hall.reconcile(ACCOUNT, "2.05").drift
    assert visit.hall.reconcile(ACCOUNT, "2.05").drift == first
    assert len(visit.kept()) == 1
    assert visit.hall.reconcile(ACCOUNT, "2.06").drift.drift == 6
    assert [row.reading for row in visit.kept()] == [205, 206]


def test_correction_that_is_ordered_is_not_proposed_again(visit):
    """The card with it is still on its way: the report it is compared with is older."""
    visit.report()
    hall, counter = visit.hall, visit.hall.counter
    with hall.ledger.begin() as books:
        binding, last = books.binding_of(ACCOUNT), books.orders(ACCOUNT)[-1]
        order = counter.add_order(
            books,
            binding,
            books.meter(METER),
            books.card_of(ACCOUNT),
            kind=2,
            sequence=2,
            count=0,
            released=last.released_pulses,
            fen=None,
            flags=0,
            now=counter.now(),
            correction=5,
        )
        books.mark_written(order.id)
    assert hall.reconcile(ACCOUNT, "2.05").drift.drift == 0


def test_next_order_bears_the_corrections_made_so_far(visit):
    """RULES 1: correction: the total is cumulative in the binding, so an order without it would take it back."""
    visit.report(correction_total=-7)
    visit.hall.sell(visit.desk.card, 10)
    assert decode_card(visit.desk.card_path.read_bytes(), visit.desk.signer).order.values["correction_total"] == -7


def test_corrections_of_an_earlier_account_count_for_the_meter(visit):
    visit.report(correction_total=5)
    hall = visit.hall
    with hall.ledger.begin() as books:
        meter, binding = books.meter(METER), books.binding_of(ACCOUNT)
        books._connection.exec_driver_sql("UPDATE bindings SET open = 0")
        other = books.add_account("Li Ming", 1)
        limits = dict.fromkeys(("alarm", "ceiling", "overdraft", "over_flow_seconds"), 0)
        bound = books.bind(meter, other.number, 0, limits)
        card = books.add_card(other.number, 0)
        opening = {"kind": 1, "sequence": 1, "count": 0, "released": 0, "fen": None, "flags": 0, "now": 1}
        order = hall.counter.add_order(books, bound, meter, card, **opening)
        books.mark_written(order.id)
        assert binding.number + 1 == bound.number
    frame = visit.desk.meter.report(card=2, binding=2, bought_total=0, report_number=9)
    with hall.ledger.begin() as books:
        books.keep_report(ReportRow(METER, 2, 9, card.number, frame, 1))
    found = hall.reconcile(other.number, "2.05").drift
    assert (found.verdict, found.drift) == (AGREES, 0)


# Rule, reading, fields of the report, code.
REFUSED = [
    ("reading beyond the wheels", "100000", {}, codes.RANGE),
    ("finer than the meter counts", "0.001", {}, errors.NOT_WHOLE_PULSES),
    ("no reading", "much", {}, errors.AMOUNT),
    ("index beyond the wheels the ledger knows", "2.00", {"index": 10_000_000}, errors.FIELD),
]


@pytest.mark.parametrize(("reading", "fields", "code"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_impossible_comparison_is_refused_and_not_kept(visit, reading, fields, code):
    visit.report(**fields)
    with pytest.raises(RequestError) as refusal:
        visit.hall.reconcile(ACCOUNT, reading)
    assert refusal.value.code == code
    assert visit.kept() == []


def test_without_a_reading_nothing_is_compared(visit):
    visit.report()
    assert visit.hall.reconcile(ACCOUNT).drift is None
    assert visit.kept() == []
