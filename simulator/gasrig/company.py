"""The flows of gasrig.counter_cut beyond purchases: where they start, the service, what comes after.

An exchange by transfer card, by report and by index; clear cards, closing and opening again; management, setting, key
and test gas cards; cards that are taken back; what is done on paper. A start brings a desk to the moment before the
service. What comes after is played on from each different end of a run that was stopped, with real meters, and held
against figures that stand here: gas in pulses, money in fen.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from gascard import codes
from gascard.chip import Chip
from gascard.sle4442 import tries_left
from gashall import errors
from gashall.errors import GasError
from gashall.exchange import NewMeter
from gashall.readers.chip import ChipReader
from gashall.services import Hall
from gasrig.checkers import Violation
from gasrig.flows import HEIR, METER, OTHER_METER

if TYPE_CHECKING:
    from gasrig.counter_cut import Desk, State, _Meter

ACCOUNT = "0000000002"
PEOPLE: dict[str, Any] = {"requester": "Li Ming", "approver": "Zhao Min", "reason": "meter of ten years"}
NEW = NewMeter(number=HEIR, initial_reading=5)
BOUGHT, PRICE = 3000, 7500  # the customer's first purchase, pulses and fen
BURNED = 712
INDEX = 1212  # the wheels then
LEFT = BOUGHT - BURNED
WAITING = 2000  # of a purchase the old meter has not loaded
TESTED = 1462  # the wheels when a test is over, in pulses
SHORT = 112  # of gas that was burned and never bought


def _silent(line: str) -> None:
    """No trace."""


def _reader(chip: Chip) -> ChipReader:
    return ChipReader(chip, trace=_silent)


def _chip(dump: bytes) -> Chip:
    chip = Chip()
    chip.restore(dump)
    return chip


def _m3(pulses: int) -> Decimal:
    return Decimal(pulses) / 100


def _so(what: str, said: object, right: object) -> None:
    if said != right:
        raise Violation("same_end", f"{what}: {said}, not {right}")


# ---------------------------------------------------------------------- services


def begin(hall: Hall, reader: ChipReader) -> None:
    """The transfer card of an exchange."""
    hall.begin_exchange(reader, account=ACCOUNT, meter=NEW, **PEOPLE)


def begin_again(hall: Hall, reader: ChipReader) -> None:
    """Another transfer card, the first one being lost."""
    hall.exchange_again(reader, account=ACCOUNT)


def read(hall: Hall, reader: ChipReader) -> None:
    """It comes back."""
    hall.read_exchange(reader)


def prove(hall: Hall, reader: ChipReader) -> None:
    """The transfer card is lost, and the new meter has told of itself."""
    hall.exchange_proven(ACCOUNT)


def dead(hall: Hall, reader: ChipReader) -> None:
    """The old meter is handed in, its wheels at 12.12 m³."""
    hall.exchange_dead(account=ACCOUNT, meter=NEW, closing_index="12.12", **PEOPLE)


def card(hall: Hall, reader: ChipReader, rescue: bool = False) -> None:
    """The customer's card for the new meter."""
    hall.exchange_card(reader, rescue=rescue)


def clear(hall: Hall, reader: ChipReader) -> None:
    """A clear card."""
    hall.issue_clear(reader, account=ACCOUNT, **PEOPLE)


def clear_again(hall: Hall, reader: ChipReader) -> None:
    """Another clear card, the first one being lost."""
    hall.issue_clear(reader, account=ACCOUNT, again=True, **PEOPLE)


def read_tool(hall: Hall, reader: ChipReader) -> None:
    """A company's card comes back."""
    hall.read_tool(reader)


def take_back(hall: Hall, reader: ChipReader) -> None:
    """A clear card comes back unused."""
    hall.end_tool(_TOOL, reader)


def close(hall: Hall, reader: ChipReader) -> None:
    """The account is closed, the customer's card given back."""
    hall.close_account(ACCOUNT, card=reader, **PEOPLE)


def management(hall: Hall, reader: ChipReader) -> None:
    """A management card."""
    hall.issue_management(reader, purpose="the reader's round")


def setting(hall: Hall, reader: ChipReader) -> None:
    """A setting card for the clock of the customer's meter."""
    hall.issue_setting(reader, purpose="it runs slow", meter=METER, clock=datetime(2026, 3, 2, tzinfo=UTC))


def keys(hall: Hall, reader: ChipReader) -> None:
    """A key card for the customer's meter."""
    hall.issue_key(reader, meter=METER, purpose="a stolen key file")


def test_gas(hall: Hall, reader: ChipReader) -> None:
    """A test gas card for a meter that was never bound."""
    hall.issue_test(reader, meter=HEIR, volume=1, purpose="the fitter's test")


def open_again(hall: Hall, reader: ChipReader) -> None:
    """The account whose meter was cleared gets a card for the same meter, with a purchase and what was left."""
    _open(hall, reader, METER, "12.12")


def open_elsewhere(hall: Hall, reader: ChipReader) -> None:
    """The same for another meter."""
    _open(hall, reader, HEIR, "5")


def _open(hall: Hall, reader: ChipReader, meter: str, reading: str) -> None:
    hall.open_account(
        reader,
        meter=meter,
        account=ACCOUNT,
        volume=WAITING // 100,
        fen=5000,
        initial_reading=reading,
        ceiling=1000,
    )


def rekey(hall: Hall, reader: ChipReader, rescue: bool = False) -> None:
    """The purchase on the customer's card once more, with the keys his meter has by now."""
    hall.rekey(reader, rescue=rescue)


def cancel_refund(hall: Hall, reader: ChipReader, rescue: bool = False) -> None:
    """A refund that is on the card is cancelled by another order."""
    hall.cancel_grant(1, reader, rescue=rescue)


def take_back_cleared(hall: Hall, reader: ChipReader) -> None:
    """A lost card that turned up is taken back, and its order taken off it."""
    hall.take_back(reader, clear=True)


def suspend(hall: Hall, reader: ChipReader) -> None:
    """The meter is taken away to be tested."""
    hall.suspend(ACCOUNT, "12.12", "runs fast")


def end_test(hall: Hall, reader: ChipReader) -> None:
    """The meter is back from its test."""
    hall.end_suspension(ACCOUNT, "14.62")


def cancel_test(hall: Hall, reader: ChipReader) -> None:
    """It was the wrong account's."""
    hall.cancel_suspension(ACCOUNT, "the neighbour's meter was meant")


def correct_test(hall: Hall, reader: ChipReader) -> None:
    """The reading at its beginning was mistyped."""
    hall.correct_suspension(ACCOUNT, reading="12.12", requester="Li Ming", approver="Zhao Min", reason="digits swapped")


def stop(hall: Hall, reader: ChipReader) -> None:
    """The customer cannot buy any more."""
    hall.stop_account(ACCOUNT, reason="moved away", approver="Zhao Min")


def resume(hall: Hall, reader: ChipReader) -> None:
    """He may buy again."""
    hall.resume_account(ACCOUNT, reason="is back", approver="Zhao Min")


def transfer_account(hall: Hall, reader: ChipReader) -> None:
    """The account has another holder."""
    hall.transfer_account(ACCOUNT, "Chen Jie", reason="sold the flat", approver="Zhao Min")


# ---------------------------------------------------------------------- where they start

_TOOL = 3  # the first company's card


def settled(desk: "Desk") -> Chip:
    """All the customer bought is in his meter and told of; a blank card is in the reader."""
    _opened(desk)
    return Chip()


def stocked(desk: "Desk") -> Chip:
    """The same, and blank cards are counted."""
    _opened(desk)
    desk.hall(-1).stock_in(5)
    return Chip()


def _opened(desk: "Desk") -> Chip:
    chip = desk.opened()
    desk.hall(-1).read_back(_reader(chip))
    desk.own = chip.dump()
    return chip


def _shown(chip: Chip, *meters: Any) -> Chip:
    for meter in meters:
        chip.restore(meter.visit(chip.dump()).dump)
    return chip


def _begun(desk: "Desk") -> tuple[Chip, Chip]:
    # The customer's card with a purchase the old meter has not loaded; the transfer card, which was in both meters.
    own, transfer = _opened(desk), Chip()
    desk.hall(-1).sell(_reader(own), WAITING // 100, fen=5000)
    begin(desk.hall(-1), _reader(transfer))
    return own, _shown(transfer, desk.meter, desk.other)


def transferred(desk: "Desk") -> Chip:
    """The transfer card is back from both meters."""
    return _begun(desk)[1]


def reported(desk: "Desk") -> Chip:
    """The transfer card was lost, and a management card read out the new meter."""
    _begun(desk)
    tool = Chip()
    management(desk.hall(-1), _reader(tool))
    read_tool(desk.hall(-1), _reader(_shown(tool, desk.other)))
    return Chip()


def moving(desk: "Desk") -> Chip:
    """The final record is read; the customer's own card is in the reader, with the order the old meter never saw."""
    own, transfer = _begun(desk)
    read(desk.hall(-1), _reader(transfer))
    desk.meter, desk.other = desk.other, desk.meter
    return own


def died(desk: "Desk") -> Chip:
    """The old meter was declared dead; the customer's card is in the reader."""
    own = _opened(desk)
    dead(desk.hall(-1), _reader(Chip()))
    desk.meter, desk.other = desk.other, desk.meter
    return own


def cleared(desk: "Desk") -> Chip:
    """A clear card was in the meter."""
    _opened(desk)
    tool = Chip()
    clear(desk.hall(-1), _reader(tool))
    return _shown(tool, desk.meter)


def unused(desk: "Desk") -> Chip:
    """A clear card was in no meter."""
    _opened(desk)
    tool = Chip()
    clear(desk.hall(-1), _reader(tool))
    return tool


def lost_clear(desk: "Desk") -> Chip:
    """A clear card is lost, nobody knows whether it was in the meter; a blank card is in the reader."""
    tool = unused(desk)
    desk.lost = tool.dump()
    return Chip()


def over(desk: "Desk") -> Chip:
    """The final record is known; the customer's card is in the reader, and a shift pays."""
    own = _opened(desk)
    _ended(desk)
    desk.hall(-1).open_shift("Sun Li")
    return own


def _ended(desk: "Desk") -> None:
    tool = Chip()
    clear(desk.hall(-1), _reader(tool))
    read_tool(desk.hall(-1), _reader(_shown(tool, desk.meter)))


def ended(desk: "Desk") -> Chip:
    """The final record is known; a blank card is in the reader."""
    _opened(desk)
    _ended(desk)
    return Chip()


def owing(desk: "Desk") -> Chip:
    """The same of a customer who owes gas, and the meter he is to get now hangs there."""
    _opened(desk)
    desk.meter.under_test.pulses(LEFT + SHORT)
    _ended(desk)
    desk.meter, desk.other = desk.other, desk.meter
    return Chip()


def read_out(desk: "Desk") -> Chip:
    """A management card with two reports, the customer's meter's and a neighbour's."""
    _opened(desk)
    tool = Chip()
    management(desk.hall(-1), _reader(tool))
    return _shown(tool, desk.meter, desk.stranger)


def lost_with_order(desk: "Desk") -> Chip:
    """The transfer card is lost, having been in both meters; a blank card is in the reader."""
    _opened(desk)
    transfer = Chip()
    begin(desk.hall(-1), _reader(transfer))
    _shown(transfer, desk.meter, desk.other)
    return Chip()


def rekeyed(desk: "Desk") -> Chip:
    """The meter has new keys and the hall knows; the customer's card, in the reader, has a purchase under the old."""
    own, tool = _opened(desk), Chip()
    keys(desk.hall(-1), _reader(tool))
    desk.hall(-1).sell(_reader(own), WAITING // 100, fen=5000)
    read_tool(desk.hall(-1), _reader(_shown(tool, desk.meter)))
    desk.meter.has_keys(desk.signer, 2)
    return own


def promised(desk: "Desk") -> Chip:
    """10 of the first 30 m³ are to be paid back; on the meter and in the ledger 22.88 m³ are left."""
    own, hall = _opened(desk), desk.hall(-1)
    asked = hall.request_refund(ACCOUNT, 10, reason="moves", requester="Li Ming")
    hall.approve_grant(asked.number, "Zhao Min")
    return own


def waits_to_pay(desk: "Desk") -> Chip:
    """The refund is on the customer's card and in no meter."""
    own = promised(desk)
    desk.hall(-1).write_grant(_reader(own), 1)
    return own


def found(desk: "Desk") -> Chip:
    """A card that was replaced turns up, with a purchase no meter has loaded."""
    own = _opened(desk)
    desk.hall(-1).sell(_reader(own), WAITING // 100, fen=5000)
    _replaced(desk)
    return own


def found_loaded(desk: "Desk") -> Chip:
    """The same, and it was loaded before."""
    own = _opened(desk)
    desk.hall(-1).sell(_reader(own), WAITING // 100, fen=5000)
    own = _shown(own, desk.meter)
    _replaced(desk)
    return own


def _replaced(desk: "Desk") -> None:
    new = Chip()
    desk.hall(-1).replace(_reader(new), account=ACCOUNT, reason="lost in use")
    desk.own = new.dump()


def tested(desk: "Desk") -> Chip:
    """The meter is away to be tested."""
    _opened(desk)
    suspend(desk.hall(-1), _reader(Chip()))
    return Chip()


def mistyped(desk: "Desk") -> Chip:
    """It is back from its test, the reading at the beginning having been mistyped."""
    _opened(desk)
    desk.hall(-1).suspend(ACCOUNT, "11.22", "runs fast")
    end_test(desk.hall(-1), _reader(Chip()))
    return Chip()


def stopped(desk: "Desk") -> Chip:
    """The customer cannot buy."""
    _opened(desk)
    stop(desk.hall(-1), _reader(Chip()))
    return Chip()


def unbound(desk: "Desk") -> Chip:
    """A meter that was never bound is booked."""
    _opened(desk)
    desk.hall(-1).add_meter(HEIR)
    desk.meter, desk.other = desk.other, desk.meter
    return Chip()


# ---------------------------------------------------------------------- what every state must bear, what comes after


def moved(desk: "Desk", state: "State") -> None:
    """Of the two meters one at most can deliver the gas, wherever the transfer card's making was stopped."""
    visit = desk.visited(state.dump)
    old = max(0, visit.store.remaining)
    desk.other.back()
    new = desk.other.visit(visit.dump).store
    if new.remaining + old > LEFT or (visit.store.over and new.remaining != LEFT):
        raise Violation("one_delivers", f"{old} pulses in the old meter, {new.remaining} in the new one, of {LEFT}")


def moves(desk: "Desk", end: "State") -> None:
    """The transfer card goes its way, twice, and is read; then the customer's card. Nothing else is served before."""
    desk.ledger.back(end.ledger)
    hall, blank = desk.hall(9), Chip()
    for code, what, service in (
        (errors.EXCHANGE, "a sale in an exchange", lambda: hall.sell(_reader(_chip(desk.own)), 1)),
        (
            errors.EXCHANGE,
            "a replacement in an exchange",
            lambda: hall.replace(_reader(blank), account=ACCOUNT, reason="broken"),
        ),
        (
            errors.EXCHANGE,
            "the card before the final record",
            lambda: hall.exchange_card(_reader(blank), account=ACCOUNT, reason="broken"),
        ),
        (
            errors.EXCHANGE,
            "the new meter opened for another",
            lambda: hall.open_account(_reader(blank), meter=HEIR, volume=1),
        ),
    ):
        _refused(code, what, service)
    desk.ledger.back(end.ledger)
    desk.meter.back()
    desk.other.back()
    transfer = _shown(_chip(end.dump), *2 * (desk.meter, desk.other))
    told = desk.hall(9).read_exchange(_reader(transfer))
    _so("moved and owed", (told.moved, told.owed, told.corrected), (_m3(LEFT), 0, 0))
    _customers_card(desk, 0)


def gets_card(desk: "Desk", end: "State") -> None:
    """The exchange being read or declared, the customer's card is written and loaded."""
    desk.ledger.back(end.ledger)
    desk.meter.back()
    desk.other.back()
    _customers_card(desk, 0 if desk.flow.kind == "paper" else WAITING)


def _customers_card(desk: "Desk", waiting: int) -> None:
    # The customer's card of the state before was not kept: he has lost it, and gets another.
    hall = desk.hall(9)
    blank = Chip()
    hall.exchange_card(_reader(blank), account=ACCOUNT, reason="lost in use")
    visit = desk.other.visit(blank.dump())
    dead_meter = desk.flow.kind == "paper"
    _so("the new meter", (visit.code, visit.store.remaining), (codes.OK, (0 if dead_meter else LEFT) + waiting))
    _reconciled(desk, visit.dump, owed=LEFT if dead_meter else waiting)


def loads(desk: "Desk", end: "State") -> None:
    """The customer's card in the new meter, the old one and the new one again: the gas is there once."""
    desk.ledger.back(end.ledger)
    desk.meter.back()
    desk.other.back()
    card_ = _shown(_chip(end.dump), desk.meter, desk.other, desk.meter)
    is_dead = desk.flow.does is card and not desk.other.store().over
    _so("the new meter", desk.meter.store().remaining, 0 if is_dead else LEFT + WAITING)
    if not is_dead:
        _so("the old meter", desk.other.store().remaining, 0)
    _reconciled(desk, card_.dump(), owed=LEFT if is_dead else WAITING)


def _reconciled(desk: "Desk", dump: bytes, owed: int) -> None:
    # ``owed`` pulses are told: of a dead meter's gas those to be made up, else those on the customer's card. The next
    # sale goes through.
    _so("owed", desk.hall(9).exchange(ACCOUNT).owed, _m3(owed))
    exchanged = desk.flow.does is not card
    _buys_on(desk, dump, desk.other if exchanged else desk.meter)


def _buys_on(desk: "Desk", dump: bytes, meter: "_Meter") -> None:
    # The card comes back from the meter it is for: the ledger agrees with it, and sells.
    hall, chip = desk.hall(9), _chip(dump)
    hall.read_back(_reader(chip))
    _so("difference", hall.reconcile(ACCOUNT).difference, 0)
    hall.sell(_reader(chip), 1, fen=250)
    before = meter.store().remaining
    visit = meter.visit(chip.dump())
    _so("the meter after the next sale", (visit.code, visit.store.remaining), (codes.OK, before + 100))
    _so("findings of the audit", hall.audit().findings, ())


def begins_anew(desk: "Desk", end: "State") -> None:
    """The new card is loaded once, with what was left or owed; the one from before the clear card does nothing."""
    desk.ledger.back(end.ledger)
    desk.meter.back()
    desk.other.back()
    left = -SHORT if desk.flow.start is owing else LEFT
    _shown(_chip(desk.own), desk.meter, desk.other)
    new = _shown(_chip(end.dump), desk.meter, desk.other, desk.meter)
    _shown(_chip(desk.own), desk.meter, desk.other)
    _so("the meter bound anew", desk.meter.store().remaining, left + WAITING)
    _buys_on(desk, new.dump(), desk.meter)


def rewritten(desk: "Desk", end: "State") -> None:
    """The purchase is loaded, once."""
    desk.ledger.back(end.ledger)
    desk.meter.back()
    card_ = _shown(_chip(end.dump), desk.meter, desk.meter)
    _so("the meter", desk.meter.store().remaining, LEFT + WAITING)
    _buys_on(desk, card_.dump(), desk.meter)


def keeps_gas(desk: "Desk", end: "State") -> None:
    """Nothing was taken from the meter, and nothing is paid."""
    desk.ledger.back(end.ledger)
    desk.meter.back()
    card_ = _shown(_chip(end.dump), desk.meter, desk.meter)
    _so("the meter", desk.meter.store().remaining, LEFT)
    _refused(errors.GRANT_ENDED, "a cancelled refund paid", lambda: desk.hall(9).pay_refund(1))
    _buys_on(desk, card_.dump(), desk.meter)


def gives_back(desk: "Desk", end: "State") -> None:
    """The card taken back moves nothing; what the ledger held of it is made up on the new one, and loaded once."""
    desk.ledger.back(end.ledger)
    desk.meter.back()
    before = desk.meter.store().remaining
    old = _chip(end.dump)
    emptied = tries_left(old.security[0]) > 1  # at its last try it is left as it is
    _shown(old, desk.meter, desk.meter)
    if emptied:
        _so("the meter shown the card taken back", desk.meter.store().remaining, before)
    hall, new = desk.hall(9), _chip(desk.own)
    if before == LEFT:
        asked = hall.request_makeup(ACCOUNT, WAITING // 100, kind="held", reason="was not loaded", requester="Li Ming")
        hall.approve_grant(asked.number, "Zhao Min")
        hall.write_grant(_reader(new), asked.number)
    new = _shown(new, desk.meter, desk.meter)
    _so("the meter", desk.meter.store().remaining, LEFT + WAITING)
    _buys_on(desk, new.dump(), desk.meter)


def advises(desk: "Desk", end: "State") -> None:
    """One test counts, with the right readings; the customer buys."""
    desk.ledger.back(end.ledger)
    _so("readings of tests", _tests(desk), [(INDEX, TESTED)])
    _sold_on(desk)


def goes_on(desk: "Desk", end: "State") -> None:
    """As if there had been no test, or no stop: the customer buys."""
    desk.ledger.back(end.ledger)
    _so("tests that count", _tests(desk), [])
    _sold_on(desk)


def sells_nothing(desk: "Desk", end: "State") -> None:
    """No sale, until he may buy again."""
    desk.ledger.back(end.ledger)
    sale = (errors.ACCOUNT_STOPPED, "a sale", lambda: desk.hall(9).sell(_reader(_chip(desk.own)), 1))
    _refused(*sale)
    resume(desk.hall(9), _reader(Chip()))
    _sold_on(desk)


def _tests(desk: "Desk") -> list[tuple[int, int | None]]:
    rows = desk.hall(9).history(ACCOUNT).suspensions
    return [(row.reading, row.end_reading) for row in rows if row.cancelled_at is None]


def _sold_on(desk: "Desk") -> None:
    desk.meter.back()
    _buys_on(desk, desk.own, desk.meter)


def ends(desk: "Desk", end: "State") -> None:
    """The clear card goes its way: into the meter twice, back to the hall; then the account is closed."""
    desk.ledger.back(end.ledger)
    _so("blank cards used", desk.hall(9).stock().used, 1)
    _ends(desk, end)


def ends_again(desk: "Desk", end: "State") -> None:
    """The same of the second clear card, whether the lost one has been in the meter or not, and turns up or not."""
    desk.ledger.back(end.ledger)
    _ends(desk, end)
    desk.meter.back()
    lost = _shown(_chip(desk.lost), desk.meter)
    desk.ledger.back(end.ledger)
    desk.hall(9).read_tool(_reader(_shown(_chip(end.dump), desk.meter)))
    _closed(desk)
    desk.hall(9).read_tool(_reader(lost))
    _so("findings of the audit", desk.hall(9).audit().findings, ())


def _ends(desk: "Desk", end: "State") -> None:
    _refused(
        errors.BINDING_ENDS,
        "a sale while the clear card is out",
        lambda: desk.hall(9).sell(_reader(_chip(desk.own)), 1),
    )
    desk.meter.back()
    tool = _shown(_chip(end.dump), desk.meter, desk.meter)
    _refused(
        errors.BINDING_ENDS, "closed before the final record", lambda: desk.hall(9).close_account(ACCOUNT, **PEOPLE)
    )
    desk.hall(9).read_tool(_reader(tool))
    _closed(desk)


def closes(desk: "Desk", end: "State") -> None:
    """The final record is known: the account is closed."""
    desk.ledger.back(end.ledger)
    _closed(desk)


def _closed(desk: "Desk") -> None:
    hall = desk.hall(9)
    told = hall.close_account(ACCOUNT, **PEOPLE)
    _so("paid back", (told.paid_back, told.fen, told.owed), (_m3(LEFT), PRICE * LEFT // BOUGHT, 0))
    _so("paid back once more", hall.close_account(ACCOUNT, **PEOPLE).resumed, True)
    _so("findings of the audit", hall.audit().findings, ())


def sells(desk: "Desk", end: "State") -> None:
    """The clear card is in a drawer and does nothing; the customer buys."""
    desk.ledger.back(end.ledger)
    desk.meter.back()
    _shown(_chip(end.dump), desk.meter)
    _so("left on the meter", desk.meter.store().remaining, LEFT)
    own = _chip(desk.own)
    desk.hall(9).sell(_reader(own), WAITING // 100)
    visit = desk.meter.visit(own.dump())
    _so("the meter after a sale", (visit.code, visit.store.remaining), (codes.OK, LEFT + WAITING))


def reports(desk: "Desk", end: "State") -> None:
    """The management card goes to two meters and is emptied."""
    desk.ledger.back(end.ledger)
    desk.meter.back()
    desk.stranger.back()
    told = desk.hall(9).read_tool(_reader(_shown(_chip(end.dump), desk.meter, desk.stranger)))
    said = [(str(row.meter), row.kept) for row in told.reports]
    _so("reports", (sorted(said), told.emptied), ([(METER, True), (OTHER_METER, True)], True))


def sets(desk: "Desk", end: "State") -> None:
    """The meter takes the setting, and the next one, which has a number and a service number of its own."""
    desk.ledger.back(end.ledger)
    desk.meter.back()
    second = Chip()
    setting(desk.hall(9), _reader(second))
    said = [desk.meter.visit(dump).code for dump in (end.dump, second.dump(), end.dump)]
    _so("two settings and the first again", said, [codes.OK, codes.OK, codes.OLDER])


def rekeys(desk: "Desk", end: "State") -> None:
    """The meter has its new keys; the hall learns so from the card, and sells with them."""
    desk.ledger.back(end.ledger)
    desk.meter.back()
    tool = _shown(_chip(end.dump), desk.meter)
    _so("keys of the meter", desk.meter.store().key_version, 2)
    hall = desk.hall(9)
    hall.read_tool(_reader(tool))
    _so("findings of the audit", hall.audit().findings, ())


def _refused(code: int, what: str, service: Any) -> None:
    try:
        service()
    except GasError as error:
        _so(what, error.name, errors.words(code)[0])
    else:
        raise Violation("same_end", f"{what} is not refused")
