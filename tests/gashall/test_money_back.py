"""What is paid back, and what is not: across a restore, a dead meter, gas that was given. Real meters."""

import pytest
from paper import METER, NEIGHBOUR, REGION
from test_services_cuts import DeadError
from test_tool_cards import Stand
from test_toolcards import APPROVED, FIRST, reader_of, refused, visit
from tests.conftest import require_part

from gascard import codes
from gashall import errors

require_part("sqlalchemy")
from gashall.exchange import NewMeter  # noqa: E402
from gashall.ledger import Ledger  # noqa: E402
from gashall.readers import FileReader  # noqa: E402
from gashall.restoring import restore  # noqa: E402


class Dies(FileReader):
    """A card file whose program dies at the first byte that is written."""

    def write(self, address, data):
        raise DeadError


class Customer:
    """A customer with 30 m³ for 75 yuan, loaded and read back; ``buys`` more."""

    def __init__(self, desk):
        self.desk, self.hall, self.meter = desk, desk.hall(), Stand(desk.signer)
        self.hall.open_account(desk.blank(), meter=METER, volume=30, fen=7500)
        self.load()

    @property
    def card(self):
        return self.desk.card

    def load(self, meter=None):
        assert visit(meter or self.meter, self.desk.card_path) in (codes.OK, codes.REPEAT)
        self.hall.read_back(self.card)

    def buys(self, volume):
        self.hall.sell(self.card, volume, fen=volume * 250)
        self.load()

    def refund(self, volume, reader=None):
        asked = self.hall.request_refund(FIRST, volume, reason="moves", requester="Li Ming")
        self.hall.approve_grant(asked.number, "王芳")
        self.hall.write_grant(reader or self.card, asked.number)
        return asked.number

    def cleared(self, meter=None):
        tool = self.desk.blank("clear.bin")
        self.hall.issue_clear(tool, account=FIRST, **APPROVED)
        assert visit(meter or self.meter, self.desk.folder / "clear.bin") == codes.OK
        self.hall.read_tool(reader_of(self.desk, "clear.bin"))


@pytest.fixture
def customer(desk):
    return Customer(desk)


def test_account_that_was_cleared_before_a_restore_is_paid_only_what_people_name(customer):
    # RULES 1, ledger behind: nothing is paid out on a copy's word. The ledger that is lost may have paid it.
    customer.cleared()
    customer.hall.mark_restored()
    error = refused(errors.RECOVERING, customer.hall.close_account, FIRST, **APPROVED)
    assert "--money" in error.remedy
    told = customer.hall.close_account(FIRST, fen=0, **APPROVED)
    assert (told.fen, told.paid_back) == (0, 30)
    assert customer.hall.audit().clean


@pytest.mark.parametrize("state", ["written", "pending"])
def test_refund_that_a_restore_has_made_void_is_loaded_by_no_meter(customer, state):
    customer.buys(20)
    if state == "written":
        number = customer.refund(10)
    else:
        with pytest.raises(DeadError):
            customer.refund(10, Dies(customer.desk.card_path))
        number = 1
    hall = customer.hall
    hall.mark_restored()
    hall.probe(customer.card)
    assert visit(customer.meter, customer.desk.card_path) == codes.OK
    assert customer.meter.meter.remaining == 5000, "what nobody will pay stays on the meter"
    refused(errors.GRANT_ENDED, hall.pay_refund, number)
    assert not hall.adopt(customer.card, **APPROVED).recovering
    customer.cleared()
    told = hall.close_account(FIRST, **APPROVED)
    assert (told.fen, told.paid_back) == (12500, 50)
    assert hall.audit().clean


def test_refund_that_died_with_its_meter_was_not_paid_back(customer):
    heir = Stand(customer.desk.signer, NEIGHBOUR)
    customer.refund(10)
    hall = customer.hall
    hall.exchange_dead(account=FIRST, meter=NewMeter(NEIGHBOUR, 0), closing_index=0, **APPROVED)
    hall.exchange_card(customer.card)
    customer.load(heir)
    asked = hall.request_makeup(FIRST, 30, kind="dead meter", reason="its index", requester="Li Ming")
    hall.approve_grant(asked.number, "王芳")
    hall.write_grant(customer.card, asked.number)
    customer.load(heir)
    asked = hall.request_refund(FIRST, 30, reason="moves", requester="Li Ming")
    assert asked.fen == 7500
    hall.cancel_grant(asked.number)
    customer.cleared(heir)
    assert hall.close_account(FIRST, **APPROVED).fen == 7500
    assert hall.audit().clean


# Gas burns in the order it came: m³ burned, what comes then, what may be refunded of it, in m³.
GIFTS = [
    ("bought and burned before the gift", 30, "gift", 0),
    ("of what was bought a part is left below the gift", 10, "gift", 20),
    ("the gift came first, and is burned first", 10, "gift, then 20 bought", 20),
    ("nothing was given", 10, "20 bought", 40),
    ("what replaces lost gas is no gift", 10, "make-up", 30),
]


@pytest.mark.parametrize(("burned", "then", "most"), [row[1:] for row in GIFTS], ids=[row[0] for row in GIFTS])
def test_gas_that_was_given_is_paid_back_neither_by_refund_nor_at_closing(customer, burned, then, most):
    hall, meter = customer.hall, customer.meter

    def give(ask):
        hall.approve_grant(ask.number, "王芳")
        hall.write_grant(customer.card, ask.number)
        customer.load()

    if then.startswith("gift, then"):
        meter.meter.pulses(2000)
        customer.load()
        give(hall.request_gift(FIRST, 50, reason="jubilee", requester="Li Ming"))
        customer.buys(20)
        meter.meter.pulses(100 * 60)
        burned = 0
    elif then == "gift":
        meter.meter.pulses(100 * burned)
        customer.load()
        give(hall.request_gift(FIRST, 50, reason="jubilee", requester="Li Ming"))
    elif then == "make-up":
        meter.meter.pulses(100 * burned)
        customer.load()
        give(hall.request_makeup(FIRST, 10, kind="loss", reason="the meter lost it", requester="Li Ming"))
    else:
        meter.meter.pulses(100 * burned)
        customer.buys(20)
    customer.load()
    error = refused(codes.REFUND_TOO_LARGE, hall.request_refund, FIRST, most + 1, reason="x", requester="y", fen=1)
    assert "Refund at most that" in error.remedy
    if most:
        hall.cancel_grant(hall.request_refund(FIRST, most, reason="x", requester="y").number)
    customer.cleared()
    assert hall.close_account(FIRST, **APPROVED).paid_back == most
    assert hall.audit().clean


def test_gas_that_was_adopted_is_paid_back_for_the_money_people_name(customer):
    hall, desk = customer.hall, customer.desk
    hall.backup(desk.folder / "copy.db")
    customer.buys(20)
    restore(desk.folder / "copy.db", desk.folder / "again.db", desk.signer)
    customer.hall = hall = desk.hall(Ledger(desk.folder / "again.db", REGION))
    hall.adopt(customer.card, **APPROVED)
    hall.probe(customer.card)
    customer.load()
    hall.adopt(customer.card, **APPROVED)
    customer.cleared()
    refused(errors.AMOUNT, hall.close_account, FIRST, **APPROVED)
    assert hall.close_account(FIRST, fen=12500, **APPROVED).paid_back == 50
