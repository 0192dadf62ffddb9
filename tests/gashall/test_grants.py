"""Make-ups, gifts and refunds: who may ask, approve and write, what the meter makes of it, and the money."""

import shutil
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from paper import METER, NEIGHBOUR, put
from tests.conftest import require_part

from gascard import codes, records
from gascard.chip import SECURITY
from gascard.records import ORDER_AT
from gashall import encode, errors, units
from gashall.drift import compare
from gashall.encode import decode_card
from gashall.errors import CardError, GasError, LedgerError, RequestError
from gashall.readers import FileReader

require_part("sqlalchemy")
from gashall.grants import MAKEUPS  # noqa: E402
from gasrig.world import World  # noqa: E402

ACCOUNT = "0000000001"
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def refused(attempt, code, kind=GasError, told=""):
    with pytest.raises(kind) as refusal:
        attempt()
    assert refusal.value.code == code, str(refusal.value)
    assert told in str(refusal.value)


def unchanged(desk, hall, attempt, code, told=""):
    """Refused by that code, and neither card nor ledger was touched."""
    head, card = hall.audit().head, desk.card_path.read_bytes()
    refused(attempt, code, told=told)
    assert (hall.audit().head, desk.card_path.read_bytes()) == (head, card)


def asked(hall, volume=5, kind="loss", **options):
    given = {"reason": "meter lost it", "requester": "Li Ming"} | options
    return hall.request_makeup(ACCOUNT, volume, kind=kind, **given).number


def approved(hall, volume=5, kind="loss"):
    number = asked(hall, volume, kind)
    hall.approve_grant(number, "Wang Fang")
    return number


def loaded(desk):
    """A hall whose customer has 30 m³ on the meter, as its last report says."""
    hall = desk.opened()
    hall.read_back(desk.card)
    return hall


def order_on(desk):
    return decode_card(desk.card_path.read_bytes(), desk.signer).order.values


# Asking and approving.


@pytest.mark.parametrize("kind", MAKEUPS)
def test_every_kind_of_makeup_can_be_asked_for(desk, kind):
    hall = loaded(desk)
    if kind == "held":
        refused(lambda: asked(hall, 5, kind), errors.NOT_HELD, LedgerError)
        return
    if kind == "dead meter":
        refused(lambda: asked(hall, 5, kind), errors.DEAD_METER_LIMIT, LedgerError)
        return
    told = hall.grant(asked(hall, "5.25", kind))
    assert (told.kind, told.sort, told.volume, told.state, told.head) == (
        kind,
        "makeup",
        Decimal("5.25"),
        "requested",
        None,
    )
    assert (told.account, told.name, told.meter, told.requester) == (ACCOUNT, "Li Wei", METER, "Li Ming")
    assert told.requested_at == NOON


IMPOSSIBLE = [
    ({"volume": 0}, errors.AMOUNT),
    ({"volume": -5}, codes.RANGE),
    ({"volume": "-5"}, codes.RANGE),
    ({"volume": "0.001"}, errors.NOT_WHOLE_PULSES),
    ({"volume": 0.5}, errors.AMOUNT),
    ({"volume": "--5", "kind": "drift"}, errors.AMOUNT),
    ({"volume": "-0", "kind": "drift"}, errors.AMOUNT),
    ({"volume": Decimal("-83886.08"), "kind": "drift"}, codes.RANGE),
    ({"kind": "gift"}, None),
    ({"kind": "present"}, errors.FIELD),
    ({"kind": "refund"}, errors.FIELD),
    ({"reason": " "}, errors.FIELD),
    ({"reason": "a\nb"}, errors.FIELD),
    ({"requester": ""}, errors.FIELD),
    ({"requester": None}, errors.FIELD),
]


@pytest.mark.parametrize(("changes", "code"), IMPOSSIBLE)
def test_impossible_request_is_refused(desk, changes, code):
    hall = loaded(desk)
    given = {"volume": 5, "kind": "loss", "reason": "lost", "requester": "Li Ming"} | changes
    if code is None:
        assert hall.request_makeup(ACCOUNT, **given).sort == "gift"
        return
    unchanged(desk, hall, lambda: hall.request_makeup(ACCOUNT, **given), code)


@pytest.mark.parametrize(("account", "code"), [("12", errors.NUMBER_MALFORMED), ("0000000009", errors.ACCOUNT_UNKNOWN)])
def test_request_for_nobody_is_refused(desk, account, code):
    hall = loaded(desk)
    unchanged(desk, hall, lambda: hall.request_gift(account, 5, reason="x", requester="y"), code)
    unchanged(desk, hall, lambda: hall.request_refund(account, 5, reason="x", requester="y"), code)


@pytest.mark.parametrize("name", ["Li Ming", "li ming", " LI  MING ", "Ｌｉ Ｍｉｎｇ", "LiMing", "ＬＩＭＩＮＧ"])
def test_who_asked_does_not_approve(desk, name):
    # DOMAIN 1.10: every make-up goes through approval.
    hall = loaded(desk)
    number = asked(hall)
    unchanged(desk, hall, lambda: hall.approve_grant(number, name), errors.APPROVER)
    assert hall.approve_grant(number, "Li Min").approver == "Li Min"


def test_approval_is_given_once_and_for_what_there_is(desk):
    hall = loaded(desk)
    number = approved(hall)
    unchanged(desk, hall, lambda: hall.approve_grant(number, "Zhao"), errors.APPROVER, "by Wang Fang")
    unchanged(desk, hall, lambda: hall.approve_grant(9, "Zhao"), errors.GRANT_MISSING)
    unchanged(desk, hall, lambda: hall.approve_grant(0, "Zhao"), errors.FIELD)
    unchanged(desk, hall, lambda: hall.approve_grant(number, ""), errors.FIELD)
    other = asked(hall)
    hall.cancel_grant(other)
    unchanged(desk, hall, lambda: hall.approve_grant(other, "Zhao"), errors.GRANT_ENDED)
    unchanged(desk, hall, lambda: hall.cancel_grant(other), errors.GRANT_ENDED)


def test_slip_says_everything_and_stands_in_the_journal(desk):
    hall = loaded(desk)
    number = asked(hall, "5.25", reason="表损坏 <b>")
    for _ in range(12):
        asked(hall)
    told = hall.approve_grant(number, "王芳")
    assert told.head == hall.audit().head
    hall.approve_grant(number + 10, "王芳")
    assert hall.grant(number).head == told.head
    lines = told.lines()
    for text in (
        f"make-up slip 补气单 {number}",
        "makeup 补气, loss 气量损失",
        ACCOUNT,
        "Li Wei",
        METER,
        "5.25 m³",
        "表损坏 <b>",
        "Li Ming",
        "王芳",
    ):
        assert any(text in line for line in lines), text
    for words in ("asked for at 申请时间", "approved at 审批时间"):
        assert any(line.startswith(words) and line.endswith("2026-03-01 20:00+08:00") for line in lines)
    assert told.head[:32] in lines and told.head[32:] in lines
    assert any("____" in line for line in lines)
    page = told.page()
    assert f"journal 流水校验值 {told.head}" in page
    assert "表损坏 &lt;b&gt;" in page and "<b>" not in page
    assert page.count("<span>") == 3
    assert not any("____" in line for line in hall.grant(asked(hall)).lines())
    assert hall.audit(told.head).clean


def test_list_tells_every_request_and_how_far_it_is(desk):
    hall = loaded(desk)
    number = approved(hall)
    hall.request_gift(ACCOUNT, 1, reason="jubilee", requester="Li Ming")
    assert [(row.sort, row.state) for row in hall.grants()] == [("makeup", "approved"), ("gift", "requested")]
    assert [row.number for row in hall.grants(sort="makeup")] == [number]
    assert hall.grants(account="0000000002") == []
    assert "loss 5.00 m³: approved" in hall.grants()[0].line()
    hall.write_grant(desk.card, number)
    assert hall.grant(number).state == "on the card"
    desk.meter.insert(desk.card_path)
    hall.read_back(desk.card)
    told = hall.grant(number)
    assert (told.state, told.card, told.sequence) == ("loaded", 1, 2)


# Writing.


def test_makeup_raises_the_total_by_its_volume(desk):
    hall = loaded(desk)
    told = hall.write_grant(desk.card, approved(hall))
    assert (told.state, told.sequence, told.resumed) == ("on the card", 2, False)
    order = order_on(desk)
    assert (order["bought_total"], order["amount"], order["flags"]) == (3500, 500, records.FLAG_MAKEUP)
    desk.meter.insert(desk.card_path)
    sale = hall.sell(desk.card, 20)
    assert sale.bought_total == 5500
    assert order_on(desk)["correction_total"] == 0


def test_gift_is_marked_as_one(desk):
    hall = loaded(desk)
    number = hall.request_gift(ACCOUNT, 5, reason="jubilee", requester="Li Ming").number
    hall.approve_grant(number, "Wang Fang")
    hall.write_grant(desk.card, number)
    assert (order_on(desk)["bought_total"], order_on(desk)["flags"]) == (3500, records.FLAG_GIFT)


def test_drift_is_corrected_by_the_correction_total_and_carried_on(desk):
    # RULES 1, correction: drift is corrected only so, and that is the make-up.
    hall = loaded(desk)
    for sequence, volume, total in ((2, 2, -200), (3, "-0.50", -150), (4, Decimal(-2), 50)):
        hall.write_grant(desk.card, approved(hall, volume, "drift"))
        order = order_on(desk)
        assert (order["sequence"], order["bought_total"], order["correction_total"]) == (sequence, 3000, total)
        assert order["flags"] == records.FLAG_MAKEUP
        desk.meter.correction = total
        desk.meter.insert(desk.card_path)
        hall.read_back(desk.card)
    hall.sell(desk.card, 1)
    assert order_on(desk)["correction_total"] == 50
    told = hall.reconcile(ACCOUNT)
    assert (told.sold, told.granted, told.corrections, told.difference) == (3100, 0, 50, 0)


def test_correction_total_does_not_pass_its_field(desk):
    hall = loaded(desk)
    most = units.volume(records.S24_MAX, 2)
    hall.write_grant(desk.card, approved(hall, -most, "drift"))
    desk.meter.correction = records.S24_MAX
    desk.meter.insert(desk.card_path)
    hall.read_back(desk.card)
    number = approved(hall, "-0.01", "drift")
    unchanged(desk, hall, lambda: hall.write_grant(desk.card, number), codes.RANGE)


def neighbours(desk, hall):
    hall.open_account(desk.blank("other.bin"), meter=NEIGHBOUR, volume=1)
    return FileReader(desk.folder / "other.bin")


def written(desk, hall):
    number = approved(hall)
    hall.write_grant(desk.card, number)
    desk.meter.insert(desk.card_path)
    hall.read_back(desk.card)
    return number


def cancelled(hall):
    number = approved(hall)
    hall.cancel_grant(number)
    return number


def waiting(desk, hall):
    hall.sell(desk.card, 20)
    return approved(hall)


def unpaid(desk, hall):
    number = approved(hall)
    hall.write_grant(desk.card, refund(hall))
    return number


REFUSED = [
    ("DOMAIN 1.10: not approved", lambda desk, hall: asked(hall), errors.GRANT_NOT_APPROVED),
    ("no such request", lambda desk, hall: 7, errors.GRANT_MISSING),
    ("DOMAIN 1.10: written twice", written, errors.GRANT_WRITTEN),
    ("cancelled", lambda desk, hall: cancelled(hall), errors.GRANT_ENDED),
    ("DOMAIN 3.8: gas still on the card", waiting, errors.GAS_ON_CARD),
    ("RULES 1, money back: a refund is unpaid", unpaid, errors.REFUND_UNPAID),
]


@pytest.mark.parametrize(("case", "code"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_write_is_refused(desk, case, code):
    hall = loaded(desk)
    number = case(desk, hall)
    unchanged(desk, hall, lambda: hall.write_grant(desk.card, number), code)


def test_card_of_another_account_is_refused(desk):
    hall = loaded(desk)
    number, other = approved(hall), neighbours(desk, hall)
    unchanged(desk, hall, lambda: hall.write_grant(other, number), errors.GRANT_ACCOUNT)


def test_opening_not_loaded_gets_no_makeup(desk):
    hall = desk.hall()
    hall.open_account(desk.blank(), meter=METER, volume=30)
    number = approved(hall)
    unchanged(desk, hall, lambda: hall.write_grant(desk.card, number), errors.OPENING_NOT_LOADED)


def test_stopped_customer_gets_no_gift_but_what_he_is_owed(desk):
    hall = loaded(desk)
    number = hall.request_gift(ACCOUNT, 5, reason="jubilee", requester="Li Ming").number
    hall.approve_grant(number, "Wang Fang")
    hall.stop_account(ACCOUNT, reason="unpaid bills", approver="Wang Fang")
    unchanged(desk, hall, lambda: hall.write_grant(desk.card, number), errors.ACCOUNT_STOPPED)
    assert hall.write_grant(desk.card, approved(hall)).state == "on the card"


def dying(reader, byte):
    left = [byte]

    def step(plan):
        if plan[0] == SECURITY:
            return
        left[0] -= 1
        if left[0] < 0:
            raise KeyboardInterrupt

    reader.step = step
    return reader


@pytest.mark.parametrize("byte", [0, 1, 7, 12])
def test_makeup_that_died_is_finished_by_repeating_it(desk, byte):
    hall = loaded(desk)
    number = approved(hall)
    with pytest.raises(KeyboardInterrupt):
        hall.write_grant(dying(desk.card, byte), number)
    assert hall.grant(number).state == "unfinished"
    again = desk.hall()
    other = approved(again)
    refused(lambda: again.cancel_grant(number, desk.card), errors.GRANT_WRITTEN)
    told = again.write_grant(desk.card, number)
    assert (told.state, told.resumed) == ("on the card", True)
    assert order_on(desk)["bought_total"] == 3500
    refused(lambda: again.write_grant(desk.card, other), errors.GAS_ON_CARD)
    assert again.audit().clean


def test_unfinished_order_of_the_account_is_finished_and_told(desk):
    hall = loaded(desk)
    number = approved(hall)
    with pytest.raises(KeyboardInterrupt):
        hall.sell(dying(desk.card, 3), 20)
    refused(lambda: hall.write_grant(desk.card, number), errors.ORDER_FINISHED, RequestError)
    assert hall.grant(number).state == "approved"
    desk.meter.insert(desk.card_path)
    with pytest.raises(KeyboardInterrupt):
        hall.write_grant(dying(desk.card, 3), number)
    # The other way round: a sale of the very same volume is no make-up.
    refused(lambda: hall.sell(desk.card, 5), errors.ORDER_FINISHED, RequestError, "makeup 3 over 5.00 m³")
    assert hall.grant(number).state == "on the card"


def test_two_windows_write_one_makeup_once(desk):
    hall = loaded(desk)
    number = approved(hall)
    reader = desk.card
    shutil.copy(desk.card_path, desk.folder / "copy.bin")
    shutil.copy(str(desk.card_path) + ".chip", desk.folder / "copy.bin.chip")
    done = []

    def step(plan):
        if not done:
            done.append(desk.hall().write_grant(FileReader(desk.folder / "copy.bin"), number))

    reader.step = step
    refused(lambda: hall.write_grant(reader, number), codes.OLDER)
    assert len(done) == 1
    with hall.ledger.look() as books:
        assert [order.kind for order in books.orders(ACCOUNT)] == [None, "makeup"]


# Limits, shifts, history.


def test_limits_and_shifts_tell_purchases_from_what_is_given(desk):
    hall = loaded(desk)
    hall.set_price(None, 250)
    hall.set_limits(day=45)
    hall.open_shift("Li Ming")
    hall.write_grant(desk.card, approved(hall))
    desk.meter.insert(desk.card_path)
    hall.sell(desk.card, 10)
    desk.meter.insert(desk.card_path)
    hall.read_back(desk.card)
    refused(lambda: hall.sell(desk.card, "5.01"), errors.OVER_LIMIT, told="40.00 m³ were bought")
    told = hall.shift()
    assert (told.sales, told.volume, told.money, told.unpaid) == (1, 10, 2500, 0)
    assert (told.granted, told.granted_volume, told.refunds) == (1, 5, 0)
    number = refund(hall, 4, fen=None)
    hall.write_grant(desk.card, number)
    desk.meter.bought, desk.meter.sequence = 4100, 4
    desk.meter.insert(desk.card_path)
    hall.read_back(desk.card)
    paid = hall.pay_refund(number)
    assert (paid.fen, paid.state, paid.paid_at) == (1000, "paid", NOON)
    told = hall.shift()
    assert (told.money, told.paid_out, told.refunds, told.refunded, told.volume) == (1500, 1000, 1, 4, 10)
    lines = told.lines()
    assert f"money paid back 退款金额{'10.00 yuan':>18}" in lines
    refused(lambda: hall.close_shift(2500), errors.SHIFT_DIFFERS)
    assert hall.close_shift(1500).money == 1500
    # A refund of the next shift alone: the drawer has less than it began with.
    hall.open_shift("Wang Fang")
    refused(lambda: hall.close_shift(-1), errors.FIELD)


def test_refund_alone_leaves_less_than_nothing(desk):
    hall = loaded(desk)
    number = refund(hall, 4, fen=1000)
    hall.open_shift("Li Ming")
    hall.write_grant(desk.card, number)
    desk.meter.bought, desk.meter.sequence = 2600, 2
    desk.meter.insert(desk.card_path)
    hall.read_back(desk.card)
    hall.pay_refund(number)
    assert hall.close_shift(-1000).money == -1000


def test_history_tells_kinds_grants_and_changes(desk):
    hall = loaded(desk)
    hall.write_grant(desk.card, approved(hall))
    hall.transfer_account(ACCOUNT, "Li Na", reason="inherited", approver="Wang Fang")
    hall.stop_account(ACCOUNT, reason="moved out", approver="Wang Fang")
    told = hall.history(ACCOUNT)
    text = "\n".join(told.lines())
    for words in (
        "name    Li Na",
        "state   stopped",
        "makeup 5.00 m³, total 35.00 m³",
        "loss 5.00 m³, meter lost it, asked for by Li Ming, approved by Wang Fang",
        "holder from Li Wei to Li Na, inherited, approved by Wang Fang",
        "state from open to stopped, moved out",
    ):
        assert words in text
    record = told.record()
    assert [row["kind"] for row in record["grants"]] == ["loss"]
    assert [row["after"] for row in record["changes"]] == ["Li Na", "stopped"]


def test_history_tells_the_money_of_a_refund(desk):
    hall = loaded(desk)
    refund(hall)
    assert "refund 10.00 m³, 25.00 yuan, moves away, asked for by Li Ming" in "\n".join(hall.history(ACCOUNT).lines())


# Refunds.


def refund(hall, volume=10, fen=2500):
    number = hall.request_refund(ACCOUNT, volume, reason="moves away", requester="Li Ming", fen=fen).number
    hall.approve_grant(number, "Wang Fang")
    return number


class Customer:
    """A hall, a real meter that has loaded 30 m³ sold for 75 yuan, and a card."""

    def __init__(self, world):
        self.world, self.hall, self.chip = world, world.hall, world.blank_card()
        self.hall.open_account(
            self.reader, meter=world.number, volume=30, fen=7500, initial_reading=world.index_volume()
        )
        self.load()

    @property
    def reader(self):
        return self.world.reader(self.chip)

    def load(self, code=codes.OK, chip=None):
        assert self.world.visit(chip or self.chip) == code
        return self.hall.read_back(self.reader) if chip is None else None

    def sell(self, volume, fen):
        self.hall.sell(self.reader, volume, fen=fen)

    def refund(self, volume, fen=None):
        number = self.hall.request_refund(ACCOUNT, volume, reason="moves", requester="Li Ming", fen=fen).number
        self.hall.approve_grant(number, "Wang Fang")
        self.hall.write_grant(self.reader, number)
        return number

    def bought(self):
        return self.world.meter.snapshot()["bought_total"]

    def adds_up(self):
        told = self.hall.reconcile(ACCOUNT, self.world.index_volume())
        assert told.difference == 0
        assert told.left_on_meter == self.world.meter.snapshot()["remaining"]
        assert self.hall.audit().clean
        return told


@pytest.fixture
def customer():
    with World(seed=9, demand=[100_000]) as world:
        yield Customer(world)


def test_refund_is_paid_against_the_report_and_not_before(customer):
    # RULES 1, money back.
    customer.sell(20, 4000)
    customer.load()
    for _ in range(3):
        customer.world.tick()
    number = customer.refund(15)
    refused(lambda: customer.hall.pay_refund(number), errors.REFUND_NOT_PROVEN)
    refused(lambda: customer.hall.sell(customer.reader, 1), errors.REFUND_UNPAID)
    told = customer.hall.read_back(customer.reader)
    assert (told.on_card, told.state) == (-15, "written")
    assert customer.hall.reconcile(ACCOUNT).paid_back == 1500
    refused(lambda: customer.hall.pay_refund(number), errors.REFUND_NOT_PROVEN)
    assert customer.load().on_card == 0
    assert customer.bought() == 3500
    # Still unpaid: nothing else is written.
    refused(lambda: customer.hall.sell(customer.reader, 1), errors.REFUND_UNPAID)
    paid = customer.hall.pay_refund(number)
    assert (paid.fen, paid.state) == (3000, "paid")  # the last gas bought cost 2 yuan
    refused(lambda: customer.hall.pay_refund(number), errors.GRANT_ENDED)
    refused(lambda: customer.hall.cancel_grant(number, customer.reader), errors.GRANT_ENDED)
    customer.sell(10, 2500)
    customer.load()
    assert customer.bought() == 4500
    told = customer.adds_up()
    assert (told.sold, told.paid_back, told.used_by_index) == (6000, 1500, 300)


def test_sale_still_on_the_card_is_reversed_by_a_refund(customer):
    customer.sell(20, 4000)
    number = customer.refund(20)
    refused(lambda: customer.hall.pay_refund(number), errors.REFUND_NOT_PROVEN)
    customer.load()
    assert customer.hall.pay_refund(number).fen == 4000
    assert customer.bought() == 3000
    customer.adds_up()


def test_clone_of_the_reversed_sale_is_older(customer):
    customer.sell(20, 4000)
    clone = customer.world.blank_card()
    clone.restore(customer.chip.dump())
    number = customer.refund(20)
    customer.load()
    customer.load(codes.OLDER, clone)
    customer.hall.pay_refund(number)
    customer.adds_up()


def test_clone_loaded_before_the_refund_changes_nothing(customer):
    customer.sell(20, 4000)
    clone = customer.world.blank_card()
    clone.restore(customer.chip.dump())
    number = customer.refund(20)
    customer.load(codes.OK, clone)
    assert customer.bought() == 5000
    refused(lambda: customer.hall.pay_refund(number), errors.REFUND_NOT_PROVEN)
    customer.load()
    assert customer.bought() == 3000
    customer.hall.pay_refund(number)
    customer.adds_up()


@pytest.mark.parametrize("loads", [False, True])
def test_cancelled_refund_is_never_paid(customer, loads):
    customer.sell(20, 4000)
    customer.load()
    number = customer.refund(15)
    if loads:
        customer.load()
        assert customer.bought() == 3500
    refused(lambda: customer.hall.cancel_grant(number), errors.FIELD)
    assert customer.hall.cancel_grant(number, customer.reader).state == "cancelled"
    refused(lambda: customer.hall.pay_refund(number), errors.GRANT_ENDED)
    refused(lambda: customer.hall.cancel_grant(number, customer.reader), errors.GRANT_ENDED)
    customer.load()
    assert customer.bought() == 5000
    refused(lambda: customer.hall.pay_refund(number), errors.GRANT_ENDED)
    told = customer.adds_up()
    assert (told.sold, told.paid_back) == (5000, 0)


@pytest.mark.parametrize("byte", [0, 5])
def test_refund_and_its_cancelling_survive_death(customer, byte):
    number = customer.hall.request_refund(ACCOUNT, 10, reason="moves", requester="Li Ming").number
    customer.hall.approve_grant(number, "Wang Fang")
    with pytest.raises(KeyboardInterrupt):
        customer.hall.write_grant(dying(customer.reader, byte), number)
    assert customer.hall.grant(number).state == "unfinished"
    # What is unfinished is finished, and then cancelled by the next order.
    with pytest.raises(KeyboardInterrupt):
        customer.hall.cancel_grant(number, dying(customer.reader, byte + 16))
    told = customer.hall.cancel_grant(number, customer.reader)
    assert told.state == "cancelled"
    customer.load()
    assert customer.bought() == 3000
    customer.adds_up()


def test_refund_that_is_burned_is_refused_by_the_meter_and_cancelled(customer):
    customer.world.days(1)
    # By the last report all 30 m³ are there.
    number = customer.refund(10)
    customer.load(codes.REFUND_TOO_LARGE)
    refused(lambda: customer.hall.pay_refund(number), errors.REFUND_NOT_PROVEN)
    customer.hall.cancel_grant(number, customer.reader)
    customer.load()
    told = customer.adds_up()
    assert (told.used_by_index, told.left_on_meter) == (2400, 600)


LIMITS = [
    ("more than was bought", "30.01", codes.REFUND_TOO_LARGE),
    ("nothing", 0, errors.AMOUNT),
    ("negative", -1, codes.RANGE),
    ("half a pulse", "0.005", errors.NOT_WHOLE_PULSES),
]


@pytest.mark.parametrize(("volume", "code"), [row[1:] for row in LIMITS], ids=[row[0] for row in LIMITS])
def test_impossible_refund_is_refused(customer, volume, code):
    refused(lambda: customer.hall.request_refund(ACCOUNT, volume, reason="x", requester="y"), code, RequestError)


def test_gift_is_not_paid_back(customer):
    number = customer.hall.request_gift(ACCOUNT, 10, reason="jubilee", requester="Li Ming").number
    customer.hall.approve_grant(number, "Wang Fang")
    customer.hall.write_grant(customer.reader, number)
    customer.load()
    refused(
        lambda: customer.hall.request_refund(ACCOUNT, 31, reason="x", requester="y", fen=1),
        codes.REFUND_TOO_LARGE,
        told="30.00 m³ were bought",
    )
    assert customer.hall.request_refund(ACCOUNT, 30, reason="x", requester="y").fen == 7500
    assert customer.adds_up().granted == 1000


def test_burned_gas_is_not_refunded(customer):
    customer.world.days(1)
    customer.load(codes.REPEAT)
    refused(
        lambda: customer.hall.request_refund(ACCOUNT, 7, reason="x", requester="y"),
        codes.REFUND_TOO_LARGE,
        told="6.00 m³ left",
    )


MONEY = [
    # sold after the opening's 30 m³ for 75 yuan, refunded, money in fen
    ([], 30, 7500),
    ([], 10, 2500),
    ([], "0.01", 3),  # 2.5 fen, half up
    ([(20, 4000)], 20, 4000),
    ([(20, 4000)], 25, 5250),
    ([(20, 4000), (1, 333)], 2, 533),
]


@pytest.mark.parametrize(("sales", "volume", "fen"), MONEY)
def test_refund_is_worth_what_the_gas_bought_last_cost(customer, sales, volume, fen):
    for sold, money in sales:
        customer.sell(sold, money)
        customer.load()
    assert customer.hall.request_refund(ACCOUNT, volume, reason="x", requester="y").fen == fen


def test_refunds_in_parts_come_to_the_whole(customer):
    total = 0
    for volume in ("10.01", 10, "10.01"):
        number = customer.refund(volume)
        customer.load()
        total += customer.hall.pay_refund(number).fen
        customer.sell("0.01", 0)
        customer.load()
    # Each but the first begins with the 0.01 m³ that were sold for nothing.
    assert total == 7500


def test_price_of_the_list_is_what_is_paid_back(customer):
    customer.hall.set_price(None, "263.15")
    customer.sell(20, 5263)
    customer.load()
    assert customer.hall.request_refund(ACCOUNT, 10, reason="x", requester="y").fen == 2632


def test_gas_without_money_needs_a_sum_that_is_approved(customer):
    customer.hall.sell(customer.reader, 20)
    customer.load()
    refused(lambda: customer.hall.request_refund(ACCOUNT, 5, reason="x", requester="y"), errors.AMOUNT, told="--money")
    number = customer.refund(5, fen=1111)
    customer.load()
    assert customer.hall.pay_refund(number).fen == 1111


@pytest.mark.parametrize("minutes", [0, 1, -60], ids=["the same minute", "a minute later", "by a clock set back"])
def test_gas_bought_last_is_paid_back_once(customer, minutes):
    # Decision 114: asked for side by side, or before another purchase, two refunds would be worth the same gas.
    customer.sell(10, 100_000)
    customer.load()
    asked = {"reason": "moves", "requester": "Li Ming"}
    first = customer.hall.request_refund(ACCOUNT, 10, **asked)
    assert first.fen == 100_000
    refused(lambda: customer.hall.request_refund(ACCOUNT, 10, **asked), errors.REFUND_UNPAID, LedgerError, "Refund 1")
    customer.hall.approve_grant(1, "Wang Fang")
    now = customer.hall.counter.clock()
    customer.hall.counter.clock = lambda: now + timedelta(minutes=minutes)
    customer.sell(10, 2500)
    customer.load()
    refused(lambda: customer.hall.write_grant(customer.reader, 1), errors.AMOUNT, RequestError, "(order 3)")
    customer.hall.cancel_grant(1)
    assert customer.hall.request_refund(ACCOUNT, 10, **asked).fen == 2500


def test_two_refunds_in_a_row_and_after_a_replacement_are_refused(customer):
    # DOMAIN 3.
    number = customer.refund(5)
    refused(
        lambda: customer.hall.request_refund(ACCOUNT, 5, reason="x", requester="y"), errors.REFUND_UNPAID, LedgerError
    )
    customer.load()
    customer.hall.pay_refund(number)
    refused(lambda: customer.refund(5), errors.REFUND_AFTER, LedgerError)
    customer.hall.cancel_grant(2)
    customer.sell(1, 250)
    customer.load()
    chip = customer.world.blank_card()
    customer.hall.replace(customer.world.reader(chip), account=ACCOUNT, reason="broken", old_card=customer.reader)
    customer.chip = chip
    refused(lambda: customer.refund(5), errors.REFUND_AFTER, LedgerError)
    customer.load()
    refused(lambda: customer.hall.write_grant(customer.reader, 3), errors.REFUND_AFTER, LedgerError)


@pytest.mark.parametrize("loaded", [False, True])
def test_lost_card_with_a_refund_cancels_it(customer, loaded):
    customer.sell(20, 4000)
    customer.load()
    number = customer.refund(15)
    old = customer.chip
    if loaded:
        customer.world.visit(old)
        assert customer.bought() == 3500
    customer.chip = customer.world.blank_card()
    told = customer.hall.replace(customer.reader, account=ACCOUNT, reason="lost in use")
    assert (told.cancelled_refund, customer.hall.grant(number).state) == (number, "cancelled")
    customer.load()
    customer.load(codes.REPLACED, old)
    assert customer.bought() == 5000
    refused(lambda: customer.hall.pay_refund(number), errors.GRANT_ENDED)
    told = customer.adds_up()
    assert (told.sold, told.paid_back, told.held) == (5000, 0, 0)


def test_card_with_a_proven_refund_is_replaced_after_it_is_paid(customer):
    number = customer.refund(15)
    customer.load()
    chip = customer.world.blank_card()

    def replace():
        customer.hall.replace(customer.world.reader(chip), account=ACCOUNT, reason="lost in use")

    refused(replace, errors.REFUND_UNPAID, LedgerError, "icgas hall refund pay")
    customer.hall.pay_refund(number)
    replace()
    customer.chip = chip
    customer.load()
    assert customer.bought() == 1500
    customer.adds_up()


def test_refund_before_the_meter_is_bound_is_refused(desk):
    hall = desk.hall()
    hall.open_account(desk.blank(), meter=METER, volume=30, fen=7500)
    refused(lambda: refund(hall), errors.OPENING_NOT_LOADED)


def test_pay_needs_a_written_refund(desk):
    hall = loaded(desk)
    number = refund(hall)
    refused(lambda: hall.pay_refund(number), errors.REFUND_NOT_PROVEN)
    refused(lambda: hall.pay_refund(approved(hall)), errors.GRANT_MISSING)
    hall.cancel_grant(number)
    other = hall.request_refund(ACCOUNT, 1, reason="x", requester="y", fen=1).number
    refused(lambda: hall.pay_refund(other), errors.GRANT_NOT_APPROVED)


def test_report_that_tells_of_more_than_the_refund_pays_nothing(desk):
    # RULES 1, money back: bought total at most the refund order's.
    hall = loaded(desk)
    number = refund(hall)
    hall.write_grant(desk.card, number)
    desk.meter.sequence, desk.meter.bought = 2, 3000  # a meter that has taken the sequence and not the total
    put(desk.card_path, records.REPORT_AT[0], bytes(0))
    desk.meter.insert(desk.card_path)
    desk.meter.bought = 3000
    hall.read_back(desk.card)
    refused(lambda: hall.pay_refund(number), errors.REFUND_NOT_PROVEN)


# With a real meter.


def test_drift_that_was_compared_is_made_up(customer):
    # The register has counted 3 pulses too few: the wheels went on while nobody counted.
    world = customer.world
    for _ in range(3):
        world.tick()
    back = customer.load(codes.REPEAT)
    wheels = (back.report["index"] + 3) % world.wheels
    found = compare(back.report, units.volume(wheels, world.pulse_weight), world.pulse_weight, world.wheels)
    volume = -units.volume(found.correction, world.pulse_weight)
    number = customer.hall.request_makeup(
        ACCOUNT, volume, kind="drift", reason="index and register", requester="Li Ming"
    ).number
    customer.hall.approve_grant(number, "Wang Fang")
    customer.hall.write_grant(customer.reader, number)
    before = world.meter.snapshot()["remaining"]
    customer.load()
    assert world.meter.snapshot()["remaining"] == before - 3
    told = customer.hall.reconcile(ACCOUNT, units.volume(wheels, world.pulse_weight))
    assert (told.corrections, told.difference) == (3, -6 + 3)


def test_makeup_and_gift_reach_the_meter(customer):
    for request in (
        lambda: customer.hall.request_makeup(ACCOUNT, 5, kind="other", reason="x", requester="Li Ming"),
        lambda: customer.hall.request_gift(ACCOUNT, 2, reason="x", requester="Li Ming"),
    ):
        number = request().number
        customer.hall.approve_grant(number, "Wang Fang")
        customer.hall.write_grant(customer.reader, number)
        told = customer.hall.reconcile(ACCOUNT)
        assert (told.on_card, told.difference) == (500 if told.granted == 500 else 200, 0)
        customer.load()
    assert customer.bought() == 3700
    told = customer.adds_up()
    assert (told.sold, told.granted) == (3000, 700)
    assert f"{'made up and given':<20}{'7.00':>14} m³" in told.lines()


def test_sale_to_a_stopped_or_closed_customer_is_refused(desk):
    hall = loaded(desk)
    hall.stop_account(ACCOUNT, reason="unpaid bills", approver="Wang Fang")
    unchanged(desk, hall, lambda: hall.sell(desk.card, 1), errors.ACCOUNT_STOPPED)
    unchanged(
        desk, hall, lambda: hall.stop_account(ACCOUNT, reason="again", approver="Wang"), errors.FIELD, "stopped already"
    )
    hall.resume_account(ACCOUNT, reason="paid", approver="Wang Fang")
    unchanged(desk, hall, lambda: hall.resume_account(ACCOUNT, reason="x", approver="y"), errors.FIELD)
    assert hall.sell(desk.card, 1).state == "written"
    desk.meter.insert(desk.card_path)
    hall.read_back(desk.card)
    with hall.ledger.begin() as books:
        known = books.account(ACCOUNT)
        books.change_account(known, "state", "closed", at=1, reason="moved", approver="Wang")
    number = 1
    for attempt in (
        lambda: hall.sell(desk.card, 1),
        lambda: hall.stop_account(ACCOUNT, reason="x", approver="y"),
        lambda: hall.transfer_account(ACCOUNT, "x", reason="x", approver="y"),
        lambda: asked(hall),
        lambda: hall.request_refund(ACCOUNT, 1, reason="x", requester="y", fen=1),
        lambda: hall.replace(desk.blank(f"{number}.bin"), account=ACCOUNT, reason="broken"),
    ):
        unchanged(desk, hall, attempt, errors.ACCOUNT_CLOSED)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"account": "1"}, errors.NUMBER_MALFORMED),
        ({"account": "0000000009"}, errors.ACCOUNT_UNKNOWN),
        ({"name": ""}, errors.FIELD),
        ({"name": "Li Wei"}, errors.FIELD),
        ({"reason": ""}, errors.FIELD),
        ({"approver": None}, errors.FIELD),
    ],
)
def test_impossible_transfer_of_an_account_is_refused(desk, changes, code):
    hall = loaded(desk)
    given = {"account": ACCOUNT, "name": "Li Na", "reason": "inherited", "approver": "Wang"} | changes
    account, name = given.pop("account"), given.pop("name")
    unchanged(desk, hall, lambda: hall.transfer_account(account, name, **given), code)


def test_card_error_of_a_grant_is_the_cards(desk):
    hall = loaded(desk)
    number = approved(hall)
    put(desk.card_path, ORDER_AT + 20, b"\0")
    refused(lambda: hall.write_grant(desk.card, number), codes.CRC, CardError)
    assert encode.decode_card(desk.card_path.read_bytes()).order.code == codes.CRC
