"""Another meter for an account, with real meters: what is moved, what is released once more, and that gas adds up."""

import shutil
from decimal import Decimal

import pytest
from paper import METER, NEIGHBOUR, REGION, Desk
from test_services_cuts import DeadError, DyingLedger, stop
from test_tool_cards import Stand, card_of
from tests.conftest import require_part

from gascard import codes, records
from gascard.chip import Chip
from gascard.records import IDENTITY_AT
from gashall import encode, errors
from gashall.encode import decode_card
from gashall.errors import CardError, GasError, LedgerError, RequestError
from meter.layouts import BOUND, TRANSFERRED
from meter.tools import Closing

require_part("sqlalchemy")
from gashall import restoring  # noqa: E402
from gashall.exchange import NewMeter  # noqa: E402
from gashall.ledger import Ledger  # noqa: E402
from gashall.readers import FileReader  # noqa: E402
from gashall.services import Hall  # noqa: E402

THIRD = "32060012345680"
ACCOUNT = "0000000001"
PEOPLE = {"requester": "Li Ming", "approver": "Wang Fang", "reason": "meter of ten years"}


class House:
    """A customer, his two meters and his cards in files; gas is counted in pulses by the meters themselves."""

    def __init__(self, folder, signer, burned=700):
        folder.mkdir(exist_ok=True)
        self.folder = folder
        self.desk = Desk(folder, signer)
        self.old, self.new = Stand(signer), Stand(signer, NEIGHBOUR)
        self.hall = self.desk.hall()
        self.hall.open_account(self.desk.blank(), meter=METER, volume=30, name="Li Wei", fen=7500)
        self.start_old = self.old.meter.register.value
        self.show(self.old)
        self.hall.read_back(self.customer)
        self.sold = 3000
        self.burn(burned)

    @property
    def customer(self):
        return FileReader(self.folder / "card.bin")

    @property
    def transfer(self):
        return FileReader(self.folder / "transfer.bin")

    def blank(self, name="transfer.bin"):
        return FileReader.blank(self.folder / name)

    def show(self, stand, name="card.bin"):
        """Put a card file into a meter; its code."""
        path = self.folder / name
        code, image = stand.visit(path.read_bytes())
        path.write_bytes(image)
        return code

    def burn(self, pulses, stand=None):
        (stand or self.old).meter.pulses(pulses)

    def sell(self, volume):
        self.hall.sell(self.customer, volume, fen=100)
        self.sold += volume * 100

    def begin(self, **changed):
        meter = NewMeter(**{"number": NEIGHBOUR, "initial_reading": 0} | changed)
        return self.hall.begin_exchange(self.blank(), account=ACCOUNT, meter=meter, **PEOPLE)

    def through(self):
        """The whole way of an exchange: told by the reading and by the customer's card."""
        self.begin()
        assert self.show(self.old, "transfer.bin") == codes.OK
        assert self.show(self.new, "transfer.bin") == codes.OK
        read = self.hall.read_exchange(self.transfer)
        card = self.hall.exchange_card(self.customer)
        assert (read.state, card.state) == ("read", "through")
        return read

    def load(self):
        assert self.show(self.new) == codes.OK
        return self.hall.read_back(self.customer)

    def burned(self):
        return sum(stand.meter.register.value for stand in (self.old, self.new)) - self.start_old

    def adds_up(self, given=0, lost=0):
        """Gas the customer paid for is burned or left, by the meters' own words; the ledger's audit is clean."""
        assert self.old.meter.remaining == 0 or self.old.state == BOUND
        left = self.new.meter.remaining if self.new.state == BOUND else 0
        assert self.sold + given - lost == self.burned() + left
        told = self.hall.reconcile(ACCOUNT)
        assert told.difference == 0
        assert told.left_on_meter == left
        assert self.hall.audit().findings == ()
        return told

    def binding(self):
        with self.hall.ledger.look() as books:
            return books.binding_of(ACCOUNT)

    def orders(self, number=None):
        with self.hall.ledger.look() as books:
            ids = {row.id: row.meter for row in books.bindings(ACCOUNT)}
            return [row for row in books.orders(ACCOUNT) if number in (None, ids[row.binding])]


@pytest.fixture
def house(tmp_path, signer):
    house = House(tmp_path / "house", signer)
    yield house
    house.desk.close()


def refused(attempt, code, kind=GasError):
    with pytest.raises(kind) as refusal:
        attempt()
    assert refusal.value.code == code, str(refusal.value)
    return refusal.value


# ---------------------------------------------------------------------- the table of cases


def all_loaded(house):
    """Everything the customer bought is in the old meter."""
    return 2300, 0, 0


def purchase_on_the_card(house):
    """Gas that the final record does not cover."""
    house.sell(20)
    return 2300, 2000, 0


def purchase_loaded_and_not_read(house):
    """The final record is the first that tells of a purchase."""
    house.sell(20)
    assert house.show(house.old) == codes.OK
    return 4300, 0, 0


def burned_past_zero(house):
    """The valve is slow: what is left is negative."""
    house.burn(2450)
    return 0, 0, 150


def burned_past_zero_with_gas_on_the_card(house):
    house.sell(5)
    house.burn(2450)
    return 0, 500, 150


def held_since_a_card_was_lost(house):
    """The lost card's purchase was never loaded: the old meter is over, and can load it no more."""
    house.sell(20)
    (house.folder / "card.bin").rename(house.folder / "lost.bin")
    (house.folder / "card.bin.chip").rename(house.folder / "lost.bin.chip")
    house.hall.replace(FileReader.blank(house.folder / "card.bin"), account=ACCOUNT, reason="lost in use")
    return 2300, 2000, 0


def held_and_loaded_all_the_same(house):
    held_since_a_card_was_lost(house)
    assert house.show(house.old, "lost.bin") == codes.OK
    return 4300, 0, 0


def correction_on_the_card(house):
    """A drift that is taken off, approved and not loaded: the new meter takes it."""
    number = house.hall.request_makeup(
        ACCOUNT, "-1.50", kind="drift", reason="wheels ahead", requester="Li Ming"
    ).number
    house.hall.approve_grant(number, "Wang Fang")
    house.hall.write_grant(house.customer, number)
    house.sold -= 150
    return 2300, 0, 150


CASES = [
    ("RULES 1: the new meter credits what the final record says is left", all_loaded),
    ("RULES 1: orders newer than the final record are re-issued", purchase_on_the_card),
    ("RULES 1: the final record settles what it covers", purchase_loaded_and_not_read),
    ("RULES 1: a negative remainder is carried as a correction", burned_past_zero),
    ("RULES 1: a negative remainder and a re-issue", burned_past_zero_with_gas_on_the_card),
    ("RULES 1: paid and held, and never loaded, is re-issued", held_since_a_card_was_lost),
    ("RULES 1: paid and held, and loaded, is not", held_and_loaded_all_the_same),
    ("RULES 1: a correction newer than the final record is ordered again", correction_on_the_card),
]


@pytest.mark.parametrize("case", [row[1] for row in CASES], ids=[row[0] for row in CASES])
def test_gas_goes_to_the_new_meter_once(house, case):
    moved, owed, corrected = case(house)
    told = house.through()
    assert told.unproven is None
    assert (told.moved, told.owed, told.corrected) == tuple(Decimal(n) / 100 for n in (moved, owed, corrected))
    assert (house.old.state, house.old.meter.remaining) == (TRANSFERRED, 0)
    assert house.new.meter.remaining == moved - (corrected if case not in (correction_on_the_card,) else 0)
    back = house.load()
    assert back.meter == NEIGHBOUR
    assert house.new.meter.remaining == moved + owed - corrected
    assert [row.state for row in house.orders(NEIGHBOUR)] == ["done", "done"]
    house.adds_up()
    # From now on as usual.
    house.burn(100, house.new)
    house.sell(10)
    assert house.show(house.new) == codes.OK
    house.hall.read_back(house.customer)
    told = house.adds_up()
    assert told.moved == moved + owed
    # Neither the old card's order nor the transfer card gives anything again, at either meter.
    for stand in (house.old, house.new):
        before = stand.meter.remaining
        house.show(stand, "transfer.bin")
        assert stand.meter.remaining == before
    assert house.hall.read_exchange(house.transfer).resumed
    house.adds_up()


def test_no_more_is_moved_than_was_released_less_the_last_proven_use(house):
    # A store that says more than the hall ever released: whoever changed it gains nothing.
    house.hall.read_back(house.customer)
    account = house.old.meter.account
    account.commit(account.values | {"correction_total": -5000}, True)
    told = house.through()
    assert (told.most, told.moved, told.beyond) == (Decimal("30.00"), Decimal("30.00"), Decimal("43.00"))
    assert any("NOT moved: 43.00" in line for line in told.lines())
    assert house.new.meter.remaining == 3000


def test_lost_proof_of_use_only_raises_what_may_be_moved(house):
    assert house.begin().most == Decimal("30.00")


def test_proven_use_lowers_what_may_be_moved(house):
    assert house.show(house.old) == codes.REPEAT
    house.hall.read_back(house.customer)
    assert house.begin().most == Decimal("23.00")


# ---------------------------------------------------------------------- the order of things


def test_nothing_else_is_done_until_the_exchange_is_through(house):
    hall = house.hall
    number = hall.request_makeup(ACCOUNT, 1, kind="loss", reason="lost", requester="Li Ming").number
    hall.approve_grant(number, "Wang Fang")
    gift = {"reason": "anniversary", "requester": "Li Ming"}
    attempts = [
        lambda: hall.sell(house.customer, 10, fen=1),
        lambda: hall.write_grant(house.customer, number),
        lambda: hall.request_makeup(ACCOUNT, 1, kind="loss", **gift),
        lambda: hall.request_gift(ACCOUNT, 1, **gift),
        lambda: hall.request_refund(ACCOUNT, 1, **gift),
        lambda: hall.replace(house.blank("other.bin"), account=ACCOUNT, reason="broken"),
        lambda: hall.probe(house.customer),
        lambda: hall.begin_exchange(house.blank("second.bin"), account=ACCOUNT, meter=NewMeter(THIRD, 0), **PEOPLE),
    ]
    house.begin()
    for step in ("begun", "in the old meter", "read"):
        rows = len(house.orders())
        for attempt in attempts:
            refused(attempt, errors.EXCHANGE, LedgerError)
            for name in ("other.bin", "second.bin"):
                for end in ("", ".chip"):
                    (house.folder / (name + end)).unlink(missing_ok=True)
        assert len(house.orders()) == rows
        house.hall.read_back(house.customer)
        assert house.binding().meter == (NEIGHBOUR if step == "read" else METER)
        if step == "begun":
            refused(lambda: hall.exchange_card(house.customer), errors.EXCHANGE)
            refused(lambda: hall.read_exchange(house.transfer), codes.NO_FINAL_RECORD)
            assert house.show(house.old, "transfer.bin") == codes.OK
        elif step == "in the old meter":
            hall.read_exchange(house.transfer)
    hall.exchange_card(house.customer)
    house.show(house.new, "transfer.bin")
    house.load()
    house.sell(10)
    # What was approved for the old binding is asked for again.
    house.load()
    refused(lambda: hall.write_grant(house.customer, number), codes.BINDING)
    house.adds_up()


def test_customers_card_at_every_step_moves_no_gas_it_should_not(house):
    house.sell(20)
    house.begin()
    assert house.show(house.new) == codes.METER
    assert house.show(house.old, "transfer.bin") == codes.OK
    # From here on the old meter takes nothing any more.
    assert house.show(house.old) in (codes.NOT_BOUND, codes.BINDING)
    assert house.show(house.new) == codes.METER
    assert (house.old.meter.remaining, house.new.meter.remaining) == (0, 0)
    house.hall.read_exchange(house.transfer)
    house.hall.exchange_card(house.customer)
    assert house.show(house.old) == codes.METER
    # The new meter has not seen the transfer card: the order waits on the customer's.
    assert house.show(house.new) == codes.NOT_BOUND
    assert house.show(house.new, "transfer.bin") == codes.OK
    house.load()
    assert house.new.meter.remaining == 4300
    house.adds_up()


def test_purchase_loaded_after_the_beginning_is_in_the_final_record(house):
    house.sell(20)
    house.begin()
    assert house.show(house.old) == codes.OK
    assert house.show(house.old, "transfer.bin") == codes.OK
    told = house.hall.read_exchange(house.transfer)
    assert (told.moved, told.owed) == (Decimal("43.00"), Decimal(0))
    house.hall.exchange_card(house.customer)
    house.show(house.new, "transfer.bin")
    house.load()
    house.adds_up()


def test_reading_before_the_new_meter_saw_the_card_is_as_good(house):
    house.begin()
    house.show(house.old, "transfer.bin")
    house.hall.read_exchange(house.transfer)
    assert house.show(house.new, "transfer.bin") == codes.OK
    house.hall.exchange_card(house.customer)
    house.load()
    house.adds_up()


@pytest.mark.parametrize("where", ["before the old meter", "in the old meter", "before the hall"])
def test_lost_transfer_card_is_made_again(house, where):
    house.sell(20)
    house.begin()
    if where != "before the old meter":
        assert house.show(house.old, "transfer.bin") == codes.OK
    if where == "before the hall":
        assert house.show(house.new, "transfer.bin") == codes.OK
    shutil.move(house.folder / "transfer.bin", house.folder / "first.bin")
    shutil.move(house.folder / "transfer.bin.chip", house.folder / "first.bin.chip")
    told = house.hall.exchange_again(house.blank(), account=ACCOUNT)
    assert told.state == "begun"
    with house.hall.ledger.look() as books:
        first, second = books.tools()
    assert (first.ended is None, second.ended is None, told.tool) == (False, True, second.number)
    expected = codes.OK if where == "before the old meter" else codes.REPEAT
    assert house.show(house.old, "transfer.bin") == expected
    taken = house.show(house.new, "transfer.bin")
    assert taken == (codes.BINDING if where == "before the hall" else codes.OK)
    # Whichever card turns up, its record is the old meter's word.
    house.hall.read_exchange(
        FileReader(house.folder / "first.bin") if where != "before the old meter" else house.transfer
    )
    house.hall.exchange_card(house.customer)
    house.load()
    assert house.new.meter.remaining == 4300
    house.show(house.new, "first.bin")
    house.show(house.old, "first.bin")
    assert (house.old.meter.remaining, house.new.meter.remaining) == (0, 4300)
    house.adds_up()


def test_customers_card_that_is_lost_meanwhile_is_made_anew(house):
    house.sell(20)
    house.begin()
    house.show(house.old, "transfer.bin")
    house.show(house.new, "transfer.bin")
    house.hall.read_exchange(house.transfer)
    shutil.move(house.folder / "card.bin", house.folder / "lost.bin")
    shutil.move(house.folder / "card.bin.chip", house.folder / "lost.bin.chip")
    refused(lambda: house.hall.exchange_card(house.blank("card.bin")), errors.FIELD, RequestError)
    told = house.hall.exchange_card(house.customer, account=ACCOUNT, reason="lost in use")
    assert (told.state, told.card) == ("through", 3)
    # It is a card issued, though no purchase was made with it; so is the transfer card, by its kind.
    report = house.hall.daily_report()
    assert (report.cards["issued"], report.cards["replaced"], report.cards["transfer cards"]) == (2, 0, 1)
    refused(lambda: house.hall.read_back(FileReader(house.folder / "lost.bin")), codes.REPLACED)
    house.load()
    assert house.new.meter.remaining == 4300
    house.adds_up()
    house.sell(1)


@pytest.mark.parametrize("writes", [2, 4])
def test_meter_declared_dead_while_an_order_is_pending_takes_the_customers_own_card(house, writes):
    reader = house.customer
    stop(reader, "killed", writes)
    with pytest.raises(DeadError):
        house.hall.sell(reader, 20, fen=100)
    assert house.orders()[-1].state == "pending"
    house.sold += 2000
    assert declare(house).owed == 43, "what was paid for counts, though it is not on the card"
    refused(lambda: house.hall.sell(house.customer, 1, fen=100), errors.EXCHANGE, LedgerError)
    assert house.hall.exchange_card(house.customer).state == "through"
    house.load()
    assert house.new.meter.remaining == 0
    make_up(house, 43)
    house.load()
    assert house.new.meter.remaining == 4300
    assert house.hall.audit().clean


def test_used_transfer_card_is_read_by_the_exchange_and_every_refusal_says_so(house):
    tool = house.begin().tool
    assert house.show(house.old, "transfer.bin") == codes.OK
    for attempt, code in (
        (lambda: house.hall.end_tool(tool, house.transfer), errors.TOOL_OUT),
        (lambda: house.hall.read_tool(house.transfer), codes.KIND),
    ):
        assert "icgas hall exchange read" in refused(attempt, code, CardError).remedy
    assert house.hall.read_exchange(house.transfer).state == "read"


def test_account_in_an_exchange_is_not_closed_and_the_refusal_names_the_exchange(house):
    house.begin()
    error = refused(lambda: house.hall.close_account(ACCOUNT, **PEOPLE), errors.EXCHANGE, LedgerError)
    assert "icgas hall exchange read" in error.remedy
    house.show(house.old, "transfer.bin")
    house.show(house.new, "transfer.bin")
    house.hall.read_exchange(house.transfer)
    error = refused(lambda: house.hall.close_account(ACCOUNT, **PEOPLE), errors.EXCHANGE, LedgerError)
    assert "icgas hall exchange card" in error.remedy


def test_clear_card_of_a_dead_meter_asks_for_no_close(house):
    house.hall.issue_clear(house.blank("clear.bin"), account=ACCOUNT, **PEOPLE)
    assert house.show(house.old, "clear.bin") == codes.OK
    declare(house)
    house.hall.exchange_card(house.customer)
    read = house.hall.read_tool(FileReader(house.folder / "clear.bin"))
    assert (read.ended.meter, read.ended.without_meter) == (METER, False)
    assert not any("hall close" in line for line in read.lines())


def test_customers_card_that_dies_under_the_exchange_order_is_replaced(house):
    house.sell(20)
    house.begin()
    house.show(house.old, "transfer.bin")
    house.show(house.new, "transfer.bin")
    house.hall.read_exchange(house.transfer)
    reader = house.customer
    stop(reader, "killed", 4)
    with pytest.raises(DeadError):
        house.hall.exchange_card(reader)
    error = refused(
        lambda: house.hall.exchange_card(house.blank("new.bin"), account=ACCOUNT, reason="broken"),
        errors.PENDING_ELSEWHERE,
        LedgerError,
    )
    assert "icgas hall replace" in error.remedy
    house.hall.replace(FileReader(house.folder / "new.bin"), account=ACCOUNT, reason="broken")
    assert house.show(house.new, "new.bin") == codes.OK
    assert house.hall.read_back(FileReader(house.folder / "new.bin")).held == 20, "what the old card may have brought"


def test_limit_of_a_dead_meters_gas_says_what_adoption_took_off_it(house):
    """A restore lost a purchase for the new meter: whether what was adopted of it was the dead meter's, people know."""
    declare(house)
    house.hall.exchange_card(house.customer)
    house.load()
    copy, restored = house.folder / "copy.db", house.folder / "restored.db"
    house.hall.backup(copy)
    house.sell(20)
    house.load()
    restoring.restore(copy, restored, house.desk.signer, clock=house.hall.counter.clock)
    hall = Hall(Ledger(restored, REGION), house.desk.signer, clock=house.hall.counter.clock)
    hall.adopt(house.customer, **PEOPLE)
    hall.probe(house.customer)
    house.show(house.new)
    hall.adopt(house.customer, **PEOPLE)
    words = {"reason": "left by the index", "requester": "Li Ming"}
    error = refused(
        lambda: hall.request_makeup(ACCOUNT, 23, kind="dead meter", **words), errors.DEAD_METER_LIMIT, LedgerError
    )
    assert "20.00 m³ that were adopted" in error.message
    assert "at most 3.00 m³" in error.remedy and "kind loss" in error.remedy
    for kind, volume in (("dead meter", 3), ("loss", 20)):
        number = hall.request_makeup(ACCOUNT, volume, kind=kind, **words).number
        hall.approve_grant(number, "Wang Fang")
        hall.write_grant(house.customer, number)
        house.show(house.new)
        hall.read_back(house.customer)
    assert house.new.meter.remaining == 4300
    assert hall.audit().clean
    hall.ledger.close()


def test_pulled_at_every_byte_in_the_old_meter(tmp_path, signer):
    house = House(tmp_path / "start", signer)
    house.begin()
    house.desk.close()
    for pulled in range(76):
        one = House.__new__(House)
        shutil.copytree(house.folder, tmp_path / f"{pulled}")
        one.folder, one.desk = tmp_path / f"{pulled}", Desk(tmp_path / f"{pulled}", signer)
        one.hall, one.sold, one.start_old = one.desk.hall(), 3000, 0
        one.old, one.new = Stand(signer).bound(3000, 700), Stand(signer, NEIGHBOUR)
        path = one.folder / "transfer.bin"
        insert(one.old, path, pulled)
        assert one.old.meter.remaining == 0
        try:
            one.hall.read_exchange(one.transfer)
        except CardError as error:
            assert error.code in (codes.NO_FINAL_RECORD, codes.CRC, codes.SHAPE, codes.MAC)
            assert one.binding().meter == METER
            assert one.show(one.old, "transfer.bin") == codes.REPEAT
            one.hall.read_exchange(one.transfer)
        else:
            assert pulled > 70
        assert one.show(one.new, "transfer.bin") == codes.OK
        one.hall.exchange_card(one.customer)
        one.load()
        one.adds_up()
        one.desk.close()


def insert(stand, path, pulled):
    """Put the card into the meter and pull it when so many bytes of the final record are written."""
    chip = Chip()
    chip.main[:] = path.read_bytes()
    chip.security[1:4] = stand.signer.card_psc(int.from_bytes(chip.main[IDENTITY_AT + 5 : IDENTITY_AT + 9], "big"))
    stand.slot.insert(chip)
    assert stand.meter.card_in() == codes.OK
    while isinstance(stand.meter.session, Closing):
        step = max(1, stand.meter.next_ms)
        stand.motor.advance(step)
        stand.meter.tick(step)
    for _ in range(pulled):
        if stand.meter.session.active:
            stand.meter.tick(1)
    stand.slot.remove()
    stand.meter.card_out()
    path.write_bytes(bytes(chip.main))


def test_new_meters_report_stands_for_a_final_record_that_never_comes_back(house):
    house.sell(20)
    house.begin()
    house.show(house.old, "transfer.bin")
    refused(lambda: house.hall.exchange_proven(ACCOUNT), errors.REPORT_MISSING, CardError)
    house.show(house.new, "transfer.bin")
    house.hall.issue_management(house.blank("round.bin"), purpose="round")
    assert house.show(house.new, "round.bin") == codes.OK
    (row,) = house.hall.read_tool(FileReader(house.folder / "round.bin")).reports
    assert (row.kept, row.account) == (True, ACCOUNT)
    assert house.binding().meter == METER
    told = house.hall.exchange_proven(ACCOUNT)
    assert (told.state, told.moved, told.owed, told.unproven) == ("read", Decimal("23.00"), Decimal(0), 20)
    assert any("had loaded 20.00 m³" in line and "icgas hall makeup request" in line for line in told.lines())
    house.hall.exchange_card(house.customer)
    house.load()
    assert house.new.meter.remaining == 2300
    # What the customer misses is made up, approved.
    number = house.hall.request_makeup(
        ACCOUNT, 20, kind="loss", reason="not loaded before the exchange", requester="Li Ming"
    ).number
    house.hall.approve_grant(number, "Wang Fang")
    house.hall.write_grant(house.customer, number)
    house.load()
    house.adds_up()


def test_nothing_is_called_unproven_where_the_old_meter_has_shown_it_all(house):
    assert house.show(house.old) == codes.REPEAT
    house.hall.read_back(house.customer)
    heard_of_new_meter(house)
    told = house.hall.exchange_proven(ACCOUNT)
    assert told.unproven == 0
    assert not any("makeup" in line for line in told.lines())
    house.hall.exchange_card(house.customer)
    house.load()
    house.adds_up()


def heard_of_new_meter(house):
    """The transfer card was in both meters, and a management card has told of the new one."""
    house.begin()
    house.show(house.old, "transfer.bin")
    house.show(house.new, "transfer.bin")
    house.hall.issue_management(house.blank("round.bin"), purpose="round")
    house.show(house.new, "round.bin")
    house.hall.read_tool(FileReader(house.folder / "round.bin"))


def test_management_card_read_before_the_final_record_is_kept_as_well(house):
    heard_of_new_meter(house)
    house.hall.read_exchange(house.transfer)
    assert [row.state for row in house.orders(NEIGHBOUR)] == ["done"]
    house.hall.exchange_card(house.customer)
    house.load()
    house.adds_up()


def test_taking_a_transfer_card_back_unused_ends_no_exchange(house):
    tool = house.begin().tool
    house.hall.end_tool(tool, house.transfer)
    refused(lambda: house.hall.sell(house.customer, 1, fen=1), errors.EXCHANGE, LedgerError)
    shutil.move(house.folder / "transfer.bin", house.folder / "first.bin")
    shutil.move(house.folder / "transfer.bin.chip", house.folder / "first.bin.chip")
    house.hall.exchange_again(house.blank(), account=ACCOUNT)
    house.show(house.old, "transfer.bin")
    house.show(house.new, "transfer.bin")
    house.hall.read_exchange(house.transfer)
    house.hall.exchange_card(house.customer)
    house.load()
    house.adds_up()


def test_exchange_under_way_in_a_restored_ledger_goes_on(house):
    house.sell(20)
    house.begin()
    house.show(house.old, "transfer.bin")
    house.show(house.new, "transfer.bin")
    house.hall.mark_restored()
    house.hall.read_exchange(house.transfer)
    house.hall.exchange_card(house.customer)
    # Orders of the new binding may have been lost: its first one lies above them, and its report ends the recovery.
    assert house.orders(NEIGHBOUR)[-1].sequence > 100
    refused(lambda: house.hall.sell(house.customer, 1, fen=1), errors.RECOVERING, LedgerError)
    assert house.show(house.new) == codes.OK
    house.hall.adopt(house.customer, requester="Li Ming", approver="Wang Fang", reason="restored")
    house.adds_up()
    house.sell(1)


@pytest.mark.parametrize("loaded", [False, True])
def test_exchange_a_restored_ledger_does_not_know_is_taken_from_the_new_meter(house, loaded):
    copy = house.desk.copy(house.folder.parent / "copy")
    house.begin()
    assert house.show(house.old, "transfer.bin") == house.show(house.new, "transfer.bin") == codes.OK
    if loaded:
        house.hall.read_exchange(house.transfer)
        house.hall.exchange_card(house.customer)
        house.load()
    hall = copy.hall()
    hall.mark_restored()
    refused(lambda: hall.read_exchange(house.transfer), errors.TOOL_UNKNOWN, CardError)
    refused(lambda: hall.issue_clear(house.blank("x.bin"), account=ACCOUNT, **PEOPLE), errors.RECOVERING, LedgerError)
    meter = NewMeter(number=NEIGHBOUR, initial_reading=0)
    told = hall.exchange_dead(account=ACCOUNT, meter=meter, closing_index="7", **PEOPLE)
    assert told.owed == 23
    hall.exchange_card(house.blank("another.bin"), account=ACCOUNT, reason="broken")
    assert house.show(house.new, "another.bin") in (codes.SEQUENCE_CONFLICT, codes.OLDER)
    another = FileReader(house.folder / "another.bin")
    hall.probe(another, overwrite=True)
    assert house.show(house.new, "another.bin") == codes.OK
    assert hall.adopt(another, **PEOPLE).released == 23
    # What was adopted is not made up besides.
    lost = {"kind": "dead meter", "reason": "left by the index", "requester": "Li Ming"}
    refused(lambda: hall.request_makeup(ACCOUNT, 1, **lost), errors.DEAD_METER_LIMIT, LedgerError)
    hall.sell(another, 1)
    assert house.show(house.new, "another.bin") == codes.OK
    assert house.new.meter.remaining == 2400
    assert hall.audit().clean
    copy.close()


def test_new_meter_with_keys_of_another_version(house, signer):
    house.new = Stand(signer, NEIGHBOUR)
    block = encode.encode_key_block(signer, 900, {"meter": NEIGHBOUR, "key_version": 4, "time": 13_762_695}, parent=1)
    assert house.new.visit(card_of(records.CARD_KEY, block, card=900))[0] == codes.OK
    house.sell(20)
    house.begin(key_version=4)
    assert house.show(house.old, "transfer.bin") == codes.OK
    assert house.show(house.new, "transfer.bin") == codes.OK
    house.hall.read_exchange(house.transfer)
    house.hall.exchange_card(house.customer)
    house.hall.read_back(house.customer)
    refused(lambda: house.hall.sell(house.customer, 1, fen=1), errors.OPENING_NOT_LOADED)
    house.load()
    house.adds_up()


def test_exchanged_meter_is_exchanged_again(house, signer):
    burned_past_zero(house)
    house.through()
    house.load()
    house.sell(10)
    house.load()
    first, house.old, house.new = house.old, house.new, Stand(signer, THIRD)
    for name in ("transfer.bin", "transfer.bin.chip"):
        (house.folder / name).unlink()
    house.begin(number=THIRD)
    assert house.show(house.old, "transfer.bin") == codes.OK
    assert house.show(house.new, "transfer.bin") == codes.OK
    told = house.hall.read_exchange(house.transfer)
    assert (told.moved, told.corrected) == (Decimal("8.50"), Decimal(0))
    house.hall.exchange_card(house.customer)
    house.load()
    assert house.new.meter.remaining == 850
    assert first.meter.remaining == house.old.meter.remaining == 0
    assert house.hall.reconcile(ACCOUNT).difference == 0
    assert house.hall.audit().findings == ()


# ---------------------------------------------------------------------- what may not be exchanged


def test_meters_that_count_otherwise_are_not_exchanged(house):
    refused(lambda: house.begin(pulse_weight=1), codes.WEIGHT, RequestError)


REFUSALS = [
    ("the same meter", {"number": METER}, errors.FIELD),
    ("no meter number", {"number": "1"}, errors.NUMBER_MALFORMED),
    ("no such reading", {"initial_reading": 100000}, codes.RANGE),
    ("no such key", {"key_version": 0}, errors.FIELD),
]


@pytest.mark.parametrize(("changed", "code"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
def test_impossible_new_meter_is_refused_and_nothing_is_written(house, changed, code):
    before = house.hall.audit().entries
    refused(lambda: house.begin(**changed), code, RequestError)
    assert house.hall.audit().entries == before
    assert decode_card((house.folder / "transfer.bin").read_bytes()).blank


def test_one_person_does_not_approve_his_own_exchange(house):
    people = PEOPLE | {"approver": "li ming"}
    meter = NewMeter(NEIGHBOUR, 0)
    refused(lambda: house.hall.begin_exchange(house.blank(), account=ACCOUNT, meter=meter, **people), errors.APPROVER)


def test_meter_that_belongs_to_somebody_is_no_new_one(house):
    house.hall.open_account(house.blank("neighbour.bin"), meter=NEIGHBOUR, volume=10, name="Zhao", fen=1)
    refused(house.begin, codes.ALREADY_BOUND, LedgerError)


def test_awaited_meter_is_opened_for_nobody_else(house):
    house.begin()
    blank = house.blank("neighbour.bin")
    refused(lambda: house.hall.open_account(blank, meter=NEIGHBOUR, volume=10, fen=1), errors.EXCHANGE, LedgerError)


def test_refund_is_paid_or_cancelled_first(house):
    number = house.hall.request_refund(ACCOUNT, 5, reason="moves", requester="Li Ming").number
    house.hall.approve_grant(number, "Wang Fang")
    house.hall.write_grant(house.customer, number)
    refused(house.begin, errors.REFUND_UNPAID, LedgerError)
    (house.folder / "transfer.bin").unlink()
    (house.folder / "transfer.bin.chip").unlink()
    assert house.show(house.old) == codes.OK
    house.hall.read_back(house.customer)
    house.hall.pay_refund(number)
    house.sold -= 500
    told = house.through()
    assert (told.moved, told.owed) == (Decimal("18.00"), Decimal(0))
    house.load()
    house.adds_up()


def test_old_meter_is_free_for_another_customer_afterwards(house):
    house.through()
    house.hall.open_account(house.blank("zhao.bin"), meter=METER, volume=10, name="Zhao", initial_reading=7, fen=1)
    assert house.show(house.old, "zhao.bin") == codes.OK
    assert house.old.meter.remaining == 1000
    # The first customer's transfer card has nothing to say there any more.
    assert house.show(house.old, "transfer.bin") == codes.BINDING
    assert house.old.meter.remaining == 1000


@pytest.mark.parametrize("kind", ["another kind", "blank", "unknown"])
def test_other_cards_are_no_transfer_cards(house, kind):
    house.begin()
    if kind == "another kind":
        refused(lambda: house.hall.read_exchange(house.customer), codes.KIND, CardError)
    elif kind == "blank":
        refused(lambda: house.hall.read_exchange(house.blank("b.bin")), errors.CARD_BLANK, CardError)
    else:
        image = bytearray((house.folder / "transfer.bin").read_bytes())
        identity = encode.encode_identity(region=0x21, card=99, kind=records.CARD_TRANSFER)
        image[IDENTITY_AT : IDENTITY_AT + 13] = identity
        (house.folder / "transfer.bin").write_bytes(image)
        refused(lambda: house.hall.read_exchange(house.transfer), errors.TOOL_UNKNOWN, CardError)


def test_forged_final_record_is_refused(house):
    house.begin()
    house.show(house.old, "transfer.bin")
    path = house.folder / "transfer.bin"
    image = bytearray(path.read_bytes())
    at = 0xA5 + 4 + 20
    image[at] ^= 1
    path.write_bytes(image)
    refused(lambda: house.hall.read_exchange(house.transfer), codes.CRC, CardError)
    assert house.binding().meter == METER


# ---------------------------------------------------------------------- reports, limits, files


def test_a_transfer_is_no_purchase(house):
    house.sell(20)
    house.hall.set_limits(day="51")
    before = house.hall.daily_report()
    house.through()
    house.load()
    after = house.hall.daily_report()
    assert after.total().hundredths == before.total().hundredths
    assert after.total("exchange").orders == 1
    house.sell(1)
    refused(lambda: house.hall.sell(house.customer, 1, fen=1), errors.GAS_ON_CARD)
    house.load()
    refused(lambda: house.hall.sell(house.customer, 1, fen=1), errors.OVER_LIMIT)


def test_what_came_along_is_no_drift_of_the_new_meter(house):
    burned_past_zero(house)
    house.through()
    house.load()
    house.sell(10)
    house.load()
    told = house.hall.reconcile(ACCOUNT, 0)
    assert told.drift is not None
    assert (told.drift.drift, told.corrections) == (0, 150)


def test_history_tells_the_exchange(house):
    house.through()
    told = house.hall.history(ACCOUNT)
    text = "\n".join(told.lines())
    assert "meters exchanged" in text
    assert f"{METER} for {NEIGHBOUR} by transfer card, through, moved 23.00 m³, owed 0.00 m³, meter of ten" in text
    assert told.record()["transfers"][0]["moved_pulses"] == 2300
    assert house.hall.exchange(ACCOUNT).state == "through"


def test_gas_that_was_moved_is_paid_back_for_what_it_cost(house):
    house.sell(20)
    house.through()
    house.load()
    # The last 20 m³ cost 1 yuan, the 10 m³ before them a third of 75.
    told = house.hall.request_refund(ACCOUNT, 30, reason="moves", requester="Li Ming")
    assert told.fen == 100 + 2500
    house.hall.approve_grant(told.number, "Wang Fang")
    house.hall.write_grant(house.customer, told.number)
    house.load()
    house.hall.pay_refund(told.number)
    house.sold -= 3000
    house.adds_up()
    refused(lambda: house.hall.request_refund(ACCOUNT, "20.01", reason="moves", requester="Li"), codes.REFUND_TOO_LARGE)


# ---------------------------------------------------------------------- a dead meter


def declare(house, closing="7", number=NEIGHBOUR):
    return house.hall.exchange_dead(
        account=ACCOUNT, meter=NewMeter(number, 0), closing_index=closing, **PEOPLE | {"reason": "no display"}
    )


def make_up(house, volume):
    number = house.hall.request_makeup(
        ACCOUNT, volume, kind="dead meter", reason="left by the index", requester="Li Ming"
    ).number
    house.hall.approve_grant(number, "Wang Fang")
    return house.hall.write_grant(house.customer, number)


@pytest.mark.parametrize("own", [True, False])
def test_dead_meter_is_made_up_by_its_index(house, own):
    told = declare(house)
    assert (told.state, told.owed, told.corrected) == ("dead", Decimal("23.00"), Decimal(0))
    refused(lambda: make_up(house, 1), errors.EXCHANGE)
    refused(lambda: house.hall.sell(house.customer, 1, fen=1), errors.EXCHANGE)
    assert house.binding().meter == METER
    if own:
        house.hall.exchange_card(house.customer)
    else:
        (house.folder / "card.bin").unlink()
        (house.folder / "card.bin.chip").unlink()
        house.hall.exchange_card(house.blank("card.bin"), account=ACCOUNT, reason="broken")
    assert house.binding().meter == NEIGHBOUR
    house.load()
    refused(lambda: make_up(house, "23.01"), errors.DEAD_METER_LIMIT, LedgerError)
    make_up(house, "23.00")
    refused(lambda: make_up(house, "0.01"), errors.DEAD_METER_LIMIT, LedgerError)
    house.load()
    assert house.new.meter.remaining == 2300
    # A handed-in meter delivers nothing: what it still holds is not counted.
    assert house.sold == 700 + house.new.meter.remaining
    assert house.hall.reconcile(ACCOUNT).difference == 0
    assert house.hall.audit().findings == ()
    house.sell(10)


def test_what_the_wheels_burned_past_zero_is_taken_off_at_the_new_meter(house):
    told = declare(house, "31.50")
    assert (told.owed, told.corrected) == (Decimal(0), Decimal("1.50"))
    house.hall.exchange_card(house.customer)
    house.load()
    assert house.new.meter.remaining == -150
    refused(lambda: make_up(house, "0.01"), errors.DEAD_METER_LIMIT, LedgerError)
    assert house.hall.reconcile(ACCOUNT, 0).drift.drift == 0


def test_what_came_along_below_zero_is_owed_at_the_dead_meter_too(house):
    burned_past_zero(house)
    house.through()
    house.load()
    house.sell(10)
    house.load()
    assert declare(house, "0", THIRD).owed == Decimal("8.50")


def test_gas_that_waits_on_the_card_is_left_on_the_dead_meters_account(house):
    house.sell(20)
    assert declare(house).owed == Decimal("43.00")


def test_dead_meters_number_is_refused_everywhere(house):
    declare(house)
    house.hall.exchange_card(house.customer)
    blank = house.blank("zhao.bin")
    refused(lambda: house.hall.open_account(blank, meter=METER, volume=1, fen=1), errors.METER_DEAD, LedgerError)
    house.load()
    make_up(house, 23)
    house.load()
    meter = NewMeter(METER, 7)
    refused(lambda: house.hall.begin_exchange(house.blank(), account=ACCOUNT, meter=meter, **PEOPLE), errors.METER_DEAD)
    assert house.show(house.old) == codes.METER


@pytest.mark.parametrize("decided", ["made up", "made up in part", "refused"])
def test_dead_meters_gas_is_decided_on_before_the_binding_ends(house, decided):
    """A make-up is of one binding: after its end nobody could ask for it, and the customer would come short."""
    declare(house)
    house.hall.exchange_card(house.customer)
    house.load()
    house.hall.read_back(house.customer)
    meter = NewMeter(THIRD, 0)
    ends = (
        lambda: house.hall.issue_clear(house.blank("clear.bin"), account=ACCOUNT, **PEOPLE),
        lambda: house.hall.begin_exchange(house.blank("next.bin"), account=ACCOUNT, meter=meter, **PEOPLE),
        lambda: declare(house, "0", THIRD),
    )
    for attempt in ends:
        refused(attempt, errors.DEAD_METER_OWED, LedgerError)
        for path in house.folder.glob("*.bin*"):
            if path.name.startswith(("clear", "next")):
                path.unlink()
    if decided == "refused":
        told = house.hall.request_makeup(ACCOUNT, 23, kind="dead meter", reason="by index", requester="Li Ming")
        refused(ends[0], errors.DEAD_METER_OWED, LedgerError)
        (house.folder / "clear.bin").unlink()
        (house.folder / "clear.bin.chip").unlink()
        house.hall.cancel_grant(told.number)
    else:
        make_up(house, 23 if decided == "made up" else 1)
        house.load()
        house.hall.read_back(house.customer)
    assert ends[0]().account == ACCOUNT
    assert house.hall.audit().clean


def test_dead_meter_that_takes_its_clear_card_all_the_same(house):
    """The final record ends the binding before the customer's card was written: a blank one takes its place."""
    clear = house.hall.issue_clear(house.blank("clear.bin"), account=ACCOUNT, **PEOPLE)
    assert declare(house).owed == Decimal("23.00")
    assert house.show(house.old, "clear.bin") == codes.OK
    assert house.hall.read_tool(FileReader(house.folder / "clear.bin")).tool.card == clear.card
    error = refused(lambda: house.hall.exchange_card(house.customer), errors.EXCHANGE, LedgerError)
    assert f"--account {ACCOUNT} --reason" in str(error)
    for name in ("card.bin", "card.bin.chip"):
        (house.folder / name).unlink()
    house.hall.exchange_card(house.blank("card.bin"), account=ACCOUNT, reason="other")
    house.load()
    make_up(house, 23)
    house.load()
    assert house.new.meter.remaining == 2300
    assert house.hall.audit().clean


@pytest.mark.parametrize("adopted", [True, False])
def test_request_that_a_restore_made_void_is_no_decision(house, adopted):
    """Nobody has refused it; taken for refused, the customer came short without anybody having said so."""
    declare(house)
    house.hall.exchange_card(house.customer)
    house.load()
    lost = {"kind": "dead meter", "reason": "left by the index", "requester": "Li Ming"}
    before = house.hall.request_makeup(ACCOUNT, 23, **lost).number
    house.hall.mark_restored()
    assert house.hall.grant(before).state == "cancelled"
    house.hall.probe(house.customer)
    end = lambda: declare(house, "0", THIRD)  # noqa: E731
    if adopted:
        house.show(house.new)
        house.hall.adopt(house.customer, requester="Li Ming", approver="Wang Fang", reason="restored")
        end = lambda: house.hall.issue_clear(house.blank("clear.bin"), account=ACCOUNT, **PEOPLE)  # noqa: E731
    refused(end, errors.DEAD_METER_OWED, LedgerError)
    for path in house.folder.glob("clear.bin*"):
        path.unlink()
    house.hall.cancel_grant(house.hall.request_makeup(ACCOUNT, 23, **lost).number)
    assert end().account == ACCOUNT
    assert house.hall.audit().clean


def test_no_make_up_of_this_kind_without_a_dead_meter(house):
    refused(lambda: make_up(house, 1), errors.DEAD_METER_LIMIT, LedgerError)


@pytest.mark.parametrize("used", [True, False])
def test_meter_that_dies_while_its_transfer_card_is_out(house, used):
    house.begin()
    if used:
        # It had taken the card all the same, and the card is found and shown to the new meter first.
        assert house.show(house.old, "transfer.bin") == codes.OK
    refused(lambda: declare(house, number=THIRD), errors.EXCHANGE, LedgerError)
    told = declare(house)
    assert (told.owed, told.new_binding) == (Decimal("23.00"), 1)
    house.hall.exchange_card(house.customer)
    if used:
        # The new meter takes its binding's first order once, from whichever card comes first.
        assert house.show(house.new) == codes.OK
        assert house.show(house.new, "transfer.bin") in (codes.BINDING, codes.ALREADY_BOUND)
        assert house.new.meter.remaining == 0
    else:
        house.load()
    house.hall.read_back(house.customer)
    make_up(house, 23)
    house.load()
    assert house.new.meter.remaining == 2300
    assert house.hall.audit().findings == ()


def test_transfer_card_used_behind_the_halls_back_is_found_out(house):
    house.begin()
    assert house.show(house.old, "transfer.bin") == codes.OK
    assert house.show(house.new, "transfer.bin") == codes.OK
    declare(house)
    refused(lambda: house.hall.read_exchange(house.transfer), errors.METER_DEAD, LedgerError)
    house.hall.exchange_card(house.customer)
    assert house.show(house.new) == codes.SEQUENCE_CONFLICT
    number = house.hall.request_makeup(
        ACCOUNT, 23, kind="dead meter", reason="left by the index", requester="Li Ming"
    ).number
    house.hall.approve_grant(number, "Wang Fang")
    assert house.hall.read_back(house.customer).report is None
    refused(lambda: house.hall.write_grant(house.customer, number), errors.OPENING_NOT_LOADED, CardError)
    # A replacement card's order has a sequence of its own: its report tells what the meter has.
    for name in ("card.bin", "card.bin.chip"):
        (house.folder / name).unlink()
    house.hall.replace(house.blank("card.bin"), account=ACCOUNT, reason="other")
    assert house.show(house.new) == codes.OK
    refused(lambda: house.hall.write_grant(house.customer, number), errors.LEDGER_BEHIND, LedgerError)
    house.hall.adopt(house.customer, requester="Li Ming", approver="Wang Fang", reason="card was used")
    refused(lambda: house.hall.write_grant(house.customer, number), errors.DEAD_METER_LIMIT, LedgerError)
    assert house.new.meter.remaining == 2300
    house.sell(1)


def test_meter_known_to_have_taken_the_transfer_is_not_made_up_by_the_index(house):
    heard_of_new_meter(house)
    refused(lambda: declare(house), errors.EXCHANGE, LedgerError)
    house.hall.exchange_proven(ACCOUNT)


def test_refund_the_dead_meter_never_loaded_is_cancelled(house):
    number = house.hall.request_refund(ACCOUNT, 5, reason="moves", requester="Li Ming").number
    house.hall.approve_grant(number, "Wang Fang")
    house.hall.write_grant(house.customer, number)
    assert declare(house).owed == Decimal("23.00")
    assert house.hall.grant(number).state == "cancelled"
    refused(lambda: house.hall.pay_refund(number), errors.GRANT_ENDED)


def test_refund_the_dead_meter_has_loaded_is_paid_first(house):
    number = house.hall.request_refund(ACCOUNT, 5, reason="moves", requester="Li Ming").number
    house.hall.approve_grant(number, "Wang Fang")
    house.hall.write_grant(house.customer, number)
    house.show(house.old)
    house.hall.read_back(house.customer)
    refused(lambda: declare(house), errors.REFUND_UNPAID, LedgerError)
    house.hall.pay_refund(number)
    assert declare(house).owed == Decimal("18.00")


def test_sale_that_died_before_the_meter_did_is_paid_and_left(house):
    reader = house.customer
    stop(reader, "killed", 5)
    with pytest.raises(DeadError):
        house.hall.sell(reader, 20, fen=5000)
    refused(house.begin, errors.PENDING_ELSEWHERE, LedgerError)
    assert declare(house).owed == Decimal("43.00")
    house.hall.exchange_card(house.customer)
    house.load()
    make_up(house, 43)


@pytest.mark.parametrize("closing", ["-1", "100000", "x"])
def test_impossible_closing_index_is_refused_and_nothing_is_written(house, closing):
    before = house.hall.audit().entries
    with pytest.raises(RequestError):
        declare(house, closing)
    assert house.hall.audit().entries == before


def test_closing_index_above_all_gas_sold_is_asked_about(house):
    # A point left out: 549 for 5.49. It cannot be changed afterwards, and would shut the new meter.
    before = house.hall.audit().entries
    with pytest.raises(RequestError, match="more were burned than the meter ever had") as refusal:
        declare(house, "549")
    assert "--index-agreed" in refusal.value.remedy
    assert house.hall.audit().entries == before
    agreed = PEOPLE | {"index_agreed": True}
    told = house.hall.exchange_dead(account=ACCOUNT, meter=NewMeter(NEIGHBOUR, 0), closing_index="549", **agreed)
    assert (told.owed, told.state) == (0, "dead")


# ---------------------------------------------------------------------- deaths


def begin(house, hall, reader):
    return hall.begin_exchange(reader, account=ACCOUNT, meter=NewMeter(NEIGHBOUR, 0), **PEOPLE)


def read(house, hall, reader):
    return hall.read_exchange(reader)


def own_card(house, hall, reader):
    return hall.exchange_card(reader)


def new_card(house, hall, reader):
    return hall.exchange_card(reader, account=ACCOUNT, reason="lost in use")


STEPS = {begin: "transfer.bin", read: "transfer.bin", own_card: "card.bin", new_card: "new.bin"}


def before(step, folder, signer):
    """The house just before a step, closed so that it can be copied; 20 m³ wait on the customer's card."""
    house = House(folder, signer)
    house.hall.stock_in(9)
    house.sell(20)
    if step is begin:
        house.blank()
    else:
        house.begin()
        assert house.show(house.old, "transfer.bin") == codes.OK
        assert house.show(house.new, "transfer.bin") == codes.OK
    if step in (own_card, new_card):
        house.hall.read_exchange(house.transfer)
    if step is new_card:
        house.blank("new.bin")
    house.desk.close()
    return house


def again(house, folder, signer):
    """The same house once more, the cards and the ledger; the meters as they were are made anew."""
    shutil.copytree(house.folder, folder)
    copy = House.__new__(House)
    copy.folder, copy.desk, copy.start_old, copy.sold = folder, Desk(folder, signer), 0, house.sold
    return copy


def attempt(step, house, reader, ledger=None):
    """One run of the program; True if it went to its end."""
    try:
        step(house, house.desk.hall(ledger), reader)
    except DeadError:
        return False
    except GasError as error:
        if error.code not in (codes.CARD_OUT, codes.NO_CARD):
            raise
        return False
    finally:
        house.desk.close()
    return True


def finish(step, house, name):
    """Repeat the step as the clerk does; with another blank where a half-made card has lost its password."""
    try:
        assert attempt(step, house, FileReader(house.folder / name))
    except GasError as error:
        assert step in (begin, new_card), error
        assert error.code in (codes.PASSWORD_REFUSED, errors.LAST_TRY)
        for end in ("", ".chip"):
            (house.folder / (name + end)).rename(house.folder / f"spoilt-{name}{end}")
        assert attempt(step, house, house.blank(name))


def check_once(step, house, signer):
    """Go the rest of the way with meters in that state, and add everything up."""
    house.hall = house.desk.hall()
    house.old, house.new = Stand(signer).bound(3000, 700), Stand(signer, NEIGHBOUR)
    assert house.show(house.old, "transfer.bin") in (codes.OK, codes.REPEAT)
    assert house.show(house.new, "transfer.bin") == codes.OK
    with house.hall.ledger.look() as books:
        (row,) = books.transfers(ACCOUNT)
        (tool,) = books.tools()
        assert (row.tool, tool.issued) == (tool.number, True)
        assert books.meter(NEIGHBOUR).highest_binding == 1
    if step is begin:
        house.hall.read_exchange(house.transfer)
    if step in (begin, read):
        house.hall.exchange_card(house.customer)
    if step is new_card:
        for end in ("", ".chip"):
            (house.folder / f"new.bin{end}").replace(house.folder / f"card.bin{end}")
    house.load()
    assert house.new.meter.remaining == 4300
    assert [row.paid_pulses for row in house.orders()] == [3000, 2000, 2300, 2000]
    # The opening's card was made before the first blank cards were booked.
    assert house.hall.stock().used == (2 if step is new_card else 1)
    house.adds_up()
    house.desk.close()


@pytest.mark.parametrize("before_commit", [True, False])
@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.__name__)
def test_death_at_every_commit_makes_one_exchange(tmp_path, signer, step, before_commit):
    start, name = before(step, tmp_path / "start", signer), STEPS[step]
    for count in range(20):
        house = again(start, tmp_path / f"{count}", signer)
        ledger = DyingLedger(house.folder / "ledger.db", REGION).die_at(count, before_commit)
        ended = attempt(step, house, FileReader(house.folder / name), ledger)
        finish(step, house, name)
        check_once(step, house, signer)
        if ended:
            break
    assert count == {begin: 5, read: 1, own_card: 3, new_card: 6}[step]


@pytest.mark.parametrize("mode", ["killed", "pulled", "torn"])
@pytest.mark.parametrize("step", [begin, own_card, new_card], ids=lambda step: step.__name__)
def test_stop_at_every_stored_byte_makes_one_exchange(tmp_path, signer, step, mode):
    start, name = before(step, tmp_path / "start", signer), STEPS[step]
    whole, plans = again(start, tmp_path / "whole", signer), []
    reader = FileReader(whole.folder / name)
    reader.step = plans.append
    assert attempt(step, whole, reader)
    assert len(plans) > (15 if step is own_card else 85)
    for count in range(len(plans)):
        house = again(start, tmp_path / f"{count}", signer)
        reader = FileReader(house.folder / name)
        state = stop(reader, mode, count)
        assert not attempt(step, house, reader)
        assert state["fired"] is not None
        finish(step, house, name)
        if count % 7 == 0 or count > len(plans) - 8:
            check_once(step, house, signer)
        shutil.rmtree(house.folder)


def test_half_made_new_card_is_finished_by_whatever_service_meets_it(tmp_path, signer):
    start = before(new_card, tmp_path / "start", signer)
    whole, plans = again(start, tmp_path / "whole", signer), []
    reader = FileReader(whole.folder / "new.bin")
    reader.step = plans.append
    assert attempt(new_card, whole, reader)
    house = again(start, tmp_path / "one", signer)
    reader = FileReader(house.folder / "new.bin")
    stop(reader, "killed", len(plans) - 3)
    assert not attempt(new_card, house, reader)
    hall = house.desk.hall()
    reader = FileReader(house.folder / "new.bin")
    refused(lambda: hall.sell(reader, 1, fen=1), errors.ORDER_FINISHED, RequestError)
    with hall.ledger.look() as books:
        card = books.card_of(ACCOUNT)
    assert (card.issued, card.psc_bytes, card.replacement) == (True, 3, 1)
    with FileReader(house.folder / "new.bin") as held:
        assert held.present(signer.card_psc(card.number))
    house.desk.close()
    check_once(new_card, house, signer)


def test_transfer_card_at_another_service_is_called_what_it_is(house):
    house.begin()
    for service in (house.hall.read_back, lambda card: house.hall.sell(card, 1, fen=1)):
        refusal = refused(lambda service=service: service(house.transfer), codes.KIND, CardError)
        assert "transfer card of the company" in str(refusal)
        assert "icgas hall tool read, a transfer card by exchange read" in str(refusal)
    told = house.hall.verify(house.transfer).lines()
    assert any(line.startswith("identity") and line.endswith("transfer card") for line in told)


@pytest.fixture
def unread(tmp_path, signer):
    """A house whose customer has opened the account, and whose card the hall has not seen since."""
    house = House.__new__(House)
    house.folder = tmp_path / "house"
    house.folder.mkdir()
    house.desk = Desk(house.folder, signer)
    house.old, house.new = Stand(signer), Stand(signer, NEIGHBOUR)
    house.hall = house.desk.hall()
    house.hall.open_account(house.desk.blank(), meter=METER, volume=30, fen=7500)
    house.start_old, house.sold = house.old.meter.register.value, 3000
    yield house
    house.desk.close()


def test_no_exchange_begins_before_the_meter_is_known_to_be_bound(unread):
    # RULES 1, transfer: a meter that is not bound has nothing to transfer, and an exchange cannot be taken back.
    head = unread.hall.audit().head
    told = refused(unread.begin, errors.OPENING_NOT_LOADED, CardError)
    assert "icgas hall read" in told.remedy and "icgas hall exchange dead" in told.remedy
    assert unread.hall.audit().head == head
    assert decode_card((unread.folder / "transfer.bin").read_bytes()).blank
    (unread.folder / "transfer.bin").unlink()
    (unread.folder / "transfer.bin.chip").unlink()
    assert unread.show(unread.old) == codes.OK
    unread.hall.read_back(unread.customer)
    assert unread.through().moved == 30
    unread.load()
    unread.adds_up()


def test_meter_that_is_dead_before_its_first_card_is_exchanged_by_its_index(unread):
    told = declare(unread, closing="0")
    assert told.owed == 30
    unread.hall.exchange_card(unread.customer)
    assert unread.load().meter == NEIGHBOUR
    make_up(unread, "30")
    unread.load()
    assert unread.new.meter.remaining == unread.sold
    assert unread.hall.audit().clean


def test_clear_of_an_opening_nobody_has_seen_loaded_is_allowed_and_can_be_taken_back(unread):
    # Nothing is lost by it: the meter refuses the card, or says in its final record what it had loaded.
    hall = unread.hall
    hall.issue_clear(unread.blank("clear.bin"), account=ACCOUNT, **PEOPLE)
    assert unread.show(unread.old, "clear.bin") == codes.NOT_BOUND
    assert hall.end_tool(2, FileReader(unread.folder / "clear.bin")).state == "taken back"
    assert unread.show(unread.old) == codes.OK
    assert hall.read_back(unread.customer).remaining == 30
    unread.sell(20)
    hall.issue_clear(unread.blank("again.bin"), account=ACCOUNT, **PEOPLE)
    assert unread.show(unread.old, "again.bin") == codes.OK
    # An order that waits on the card is settled by the final record and paid back with the rest.
    ended = hall.read_tool(FileReader(unread.folder / "again.bin")).ended
    assert (ended.remaining, ended.not_loaded) == (30, 20)
    assert hall.close_account(ACCOUNT, **PEOPLE, fen=100).paid_back == 50
    assert hall.audit().clean
