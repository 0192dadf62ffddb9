"""Every rule of DOMAIN 1 and 3 as rows of one table, played by the hall, cards in files and the real firmware.

A row names its rule, says it in few words, and has a set-up, one act and what must come of it: a code where it is
refused, and then neither books nor card nor meter have changed; else the figures the act gives. Whatever the row, the
ledger's audit is clean afterwards and no meter has more gas than was paid for or granted.

A rule, or a part of one, whose case is a row of a table beside its service is named in ``ELSEWHERE``, and that row must
be there. Where a rule is people's (a meter's safety is looked at, a copy is fetched once a week) the row shows what the
system does for it; decision 177 lists them.
"""

import importlib
import re
import sqlite3
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path

import pytest
from paper import METER, NEIGHBOUR, ORDER, REGION, ROOT
from test_tool_cards import FACTORY_KEY, Stand, card_of
from tests.conftest import require_part

from gascard import codes, records
from gascard.chip import DEFAULT_PSC, MAIN, Chip
from gascard.records import IDENTITY_AT, ORDER_AT
from gascard.sle4442 import tries_left
from gashall import encode, errors
from gashall.drift import Verdict
from gashall.encode import decode_card
from gashall.errors import GasError
from gashall.readers import ChipReader, FileReader
from gashall.signer import KeyFileSigner
from meter.layouts import BOUND, CLOSED, TRANSFERRED
from meter.valve import OPEN, SHUT

require_part("sqlalchemy")
from gashall import batch  # noqa: E402
from gashall.exchange import NewMeter  # noqa: E402
from gashall.labels import CHINESE, both  # noqa: E402
from gashall.ledger import Ledger  # noqa: E402
from gashall.overview import Category  # noqa: E402
from gashall.services import Hall  # noqa: E402
from gasrig.world import World  # noqa: E402

DOMAIN = Path(__file__).parents[2] / "docs" / "DOMAIN.md"
ACCOUNT = "0000000001"
NOON = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
ASKED = {"reason": "wheels read by Mr Zhao", "requester": "Li Ming"}
APPROVED = {**ASKED, "approver": "Wang Fang"}
EARLIER = ORDER["time"]


class Counter:
    """A hall, a customer's card in a file, his meter with its wheels, and another meter in the store."""

    def __init__(self, desk):
        self.desk, self.now = desk, NOON
        self.signer = desk.signer
        self.hall = Hall(Ledger(desk.folder / "ledger.db", REGION), desk.signer, lambda: self.now)
        desk.halls.append(self.hall)
        self.meter, self.other = Stand(desk.signer), Stand(desk.signer, NEIGHBOUR)
        self.wheels = 0
        self.request = None
        """Number of what was asked for last."""
        self.forged = False
        """Whether the row itself has made an order with the hall's key, which is in no books."""

    # --- cards

    def path(self, name="card"):
        return self.desk.folder / f"{name}.bin"

    def blank(self, name="card"):
        return self.desk.blank(f"{name}.bin")

    def reader(self, name="card"):
        return FileReader(self.path(name))

    def card(self, name="card"):
        return decode_card(self.path(name).read_bytes(), self.signer)

    def copy(self, name, new):
        """The same bytes on another chip, whoever made it: for a meter only."""
        self.path(new).write_bytes(self.path(name).read_bytes())

    def rename(self, name, new):
        """The card is the same; what it is called here is not."""
        for end in ("", ".chip"):
            Path(f"{self.path(name)}{end}").rename(f"{self.path(new)}{end}")

    def change(self, at, data, name="card"):
        image = bytearray(self.path(name).read_bytes())
        image[at : at + len(data)] = data
        self.path(name).write_bytes(image)

    def security(self, at, data, name="card"):
        """Change the chip's security memory, as wrong passwords do."""
        side = Path(f"{self.path(name)}.chip")
        image = bytearray(side.read_bytes())
        image[4 + at : 4 + at + len(data)] = data
        side.write_bytes(image)

    # --- people

    def open(self, volume=30, fen=7500, **particulars):
        self.hall.open_account(self.blank(), meter=METER, volume=volume, fen=fen, name="Li Wei", **particulars)

    def show(self, name="card", stand=None):
        """Put a card into a meter; its code."""
        code, image = (stand or self.meter).visit(self.path(name).read_bytes())
        self.path(name).write_bytes(image)
        return code

    def load(self, name="card", stand=None):
        assert self.show(name, stand) in (codes.OK, codes.REPEAT)
        return self.hall.read_back(self.reader(name))

    def burn(self, pulses, counted=None, stand=None):
        """The wheels turn; the register counts as many, or what is said."""
        self.wheels += pulses
        (stand or self.meter).meter.pulses(pulses if counted is None else counted)

    def reading(self):
        return Decimal(self.wheels) / 100

    def sell(self, volume=20, fen=5000, **more):
        return self.hall.sell(self.reader(), volume, fen=fen, **more)

    def ask(self, volume, kind="loss"):
        asks = {"gift": self.hall.request_gift, "refund": self.hall.request_refund}
        ask = asks.get(kind) or partial(self.hall.request_makeup, kind=kind)
        self.request = ask(ACCOUNT, volume, **ASKED).number
        return self.request

    def grant(self, volume, kind="loss"):
        """Asked for, approved, written and loaded."""
        self.hall.approve_grant(self.ask(volume, kind), "Wang Fang")
        return self.write()

    def write(self):
        return self.hall.write_grant(self.reader(), self.request)

    def replace(self, reason="lost in use"):
        """Another card; the one before is called ``lost`` from now on."""
        self.rename("card", "lost")
        return self.hall.replace(self.blank(), account=ACCOUNT, reason=reason)

    def begin_exchange(self):
        return self.hall.begin_exchange(
            self.blank("transfer"), account=ACCOUNT, meter=NewMeter(NEIGHBOUR, 0), **APPROVED
        )

    def exchange(self):
        """By transfer card, until the customer's card is written."""
        self.begin_exchange()
        assert (self.show("transfer"), self.show("transfer", self.other)) == (codes.OK, codes.OK)
        self.hall.read_exchange(self.reader("transfer"))
        return self.hall.exchange_card(self.reader())

    def clear(self):
        """The meter is cleared and its final record read."""
        self.hall.issue_clear(self.blank("clear"), account=ACCOUNT, **APPROVED)
        assert self.show("clear") == codes.OK
        return self.hall.read_tool(self.reader("clear")).ended

    # --- what is so

    def paid(self):
        """Pulses paid for or granted, of all orders; what is to be refunded is until its money is paid."""
        unpaid = "kind = 'refund' AND written IS NOT NULL AND paid_at IS NULL AND cancelled_at IS NULL"
        with sqlite3.connect(self.desk.folder / "ledger.db") as file:
            (paid,) = file.execute("SELECT COALESCE(SUM(paid_pulses), 0) FROM orders").fetchone()
            (waiting,) = file.execute(f"SELECT COALESCE(SUM(pulses), 0) FROM grants WHERE {unpaid}").fetchone()
        file.close()
        return paid + waiting

    def state(self):
        """What a refusal must leave as it was: the books but for reports, the card, the meters."""
        with sqlite3.connect(self.desk.folder / "ledger.db") as file:
            books = [
                file.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall()
                for table in ("grants", "cards", "bindings", "tools", "transfers", "suspensions", "stock_moves")
            ]
            books.append(file.execute("SELECT id, frame, paid_pulses, released_pulses FROM orders").fetchall())
        file.close()
        card = self.path().read_bytes() if self.path().exists() else b""
        return books, card, [(stand.meter.remaining, stand.state) for stand in (self.meter, self.other)]


@pytest.fixture
def counter(desk):
    return Counter(desk)


# ---------------------------------------------------------------------- set-ups


def new(at):
    """Nobody is there yet."""


def used_after_all(at):
    """The card broke after its purchase had reached the meter: its report says so."""
    loaded(at)
    told = at.hall.replace(at.blank("new"), account=ACCOUNT, reason="broken after purchase", old_card=at.reader())
    assert (told.released, told.held) == (50, 0)


def issued(at):
    """The opening card, with 30 m³, has not been in its meter."""
    at.open()


def opened(at):
    """30 m³ loaded and read back."""
    at.open()
    at.load()


def sold(at):
    """And 20 m³ more on the card."""
    opened(at)
    at.sell()


def loaded(at):
    """Those are loaded too; nobody has read it back."""
    sold(at)
    assert at.show() == codes.OK


def read(at):
    """50 m³ loaded and read back."""
    sold(at)
    at.load()


def burned(at):
    """7 of 30 m³ are burned, and the card tells so."""
    opened(at)
    at.burn(700)
    at.load()


def slow(at):
    """The wheels are ahead of the meter by a tenth of a m³."""
    opened(at)
    at.burn(700, counted=690)
    at.load()


def fast(at):
    """The meter has counted a tenth of a m³ that the wheels do not show."""
    opened(at)
    at.burn(690, counted=700)
    at.load()


def asked(at):
    fast(at)
    at.ask("0.10", "drift")


def approved(at):
    asked(at)
    at.hall.approve_grant(at.request, "Wang Fang")


def dead(at):
    """The meter shows nothing any more; its wheels stand at 7 m³, and the customer has a card for the new one."""
    burned(at)
    at.hall.exchange_dead(account=ACCOUNT, meter=NewMeter(NEIGHBOUR, 0), closing_index=at.reading(), **APPROVED)
    at.hall.exchange_card(at.reader())
    assert at.show(stand=at.other) == codes.OK
    at.hall.read_back(at.reader())


def exchanged(at):
    burned(at)
    at.exchange()
    at.load(stand=at.other)


def shift(at):
    at.hall.set_price(None, 250)
    at.hall.stock_in(5)
    at.hall.open_shift("Li Ming")
    at.hall.stock_out(3)
    at.open()
    at.load()
    at.sell()


def no_stock(at):
    """The only blank card is spoiled; one that was never booked lies in the reader."""
    at.hall.stock_in(1)
    at.hall.stock_spoiled(1)
    at.blank()


def stopped(at):
    opened(at)
    at.hall.stop_account(ACCOUNT, reason="unpaid bills", approver="Wang Fang")


def promised_and_stopped(at):
    opened(at)
    at.hall.approve_grant(at.ask(1, "gift"), "Wang Fang")
    at.hall.stop_account(ACCOUNT, reason="unpaid bills", approver="Wang Fang")


def given_and_limited(at):
    """50 m³ a day, of which 30 were bought; 5 were given."""
    opened(at)
    at.grant(5, "gift")
    at.load()
    at.hall.set_limits(day=50)


def taken_back(at):
    """A refund that was on the card, cancelled by the order after it."""
    sold(at)
    at.grant(20, "refund")
    at.hall.cancel_grant(at.request, at.reader())
    at.load()


def cleared(at):
    burned(at)
    at.clear()


def closed(at):
    cleared(at)
    at.hall.close_account(ACCOUNT, **APPROVED)


def suspended(at):
    burned(at)
    at.hall.suspend(ACCOUNT, at.reading(), "runs fast")


def refund_paid(at):
    read(at)
    at.grant(10, "refund")
    at.load()
    at.hall.pay_refund(at.request)


def locked(at):
    """Three wrong passwords in succession."""
    opened(at)
    with at.reader() as reader:
        for _ in range(3):
            assert not reader.present(b"\x12\x34\x56", rescue=True)


def last_try(at):
    opened(at)
    at.security(0, b"\x01")


def estate(at, second=NEIGHBOUR):
    path = at.desk.folder / "estate.csv"
    path.write_text(
        f"meter,name,volume,initial_reading\n{METER},Li Wei,30,0\n{second},王芳,20,12.5\n", encoding="utf-8"
    )
    return path


# ---------------------------------------------------------------------- acts that are more than a call


def stands_on(page, *texts):
    return all(text in page for text in texts)


def shown(at):
    """How the wheels stand against the report."""
    found = at.hall.reconcile(ACCOUNT, at.reading()).drift
    return found.verdict, found.drift


def suggested(at):
    (line,) = at.hall.reconcile_list({ACCOUNT: at.reading()})
    return line.category, line.make_up, line.unbilled


def slip(at):
    """What is put on paper, and that it has lines to sign on."""
    told = at.hall.approve_grant(at.request, "Wang Fang")
    text = "\n".join(told.lines())
    return all(
        word in paper
        for paper in (text, told.page())
        for word in ("0.10 m³", ASKED["reason"], "Li Ming", "Wang Fang", both("approved by"))
    )


def made_up(at):
    """Written and loaded: what is left and what the wheels show are what was bought."""
    at.write()
    before = at.meter.meter.remaining
    at.load()
    return at.meter.meter.remaining - before, at.meter.meter.remaining + at.wheels


def through(at):
    """An exchange by transfer card: what the two meters then are, and the customer's data on the new one."""
    at.exchange()
    at.load(stand=at.other)
    own = at.other.meter.account.values
    data = own["account"], own["alarm"], own["ceiling"], own["overdraft"]
    return at.meter.state, at.meter.meter.remaining, at.other.meter.remaining, data


def dead_made_up(at):
    at.grant(23, "dead meter")
    at.load(stand=at.other)
    return at.other.meter.remaining


def found_and_cleared(at):
    """The old card of a lost-and-replaced pair is taken in: what waits on it, its order, and what a meter says."""
    at.replace("lost never used")
    told = at.hall.take_back(at.reader("lost"), clear=True)
    at.grant(30, "held")
    at.load()
    return told.waiting, at.card("lost").order.written, at.show("lost"), at.meter.meter.remaining


def filed(at):
    at.grant(5)
    text = "\n".join(at.hall.history(ACCOUNT).lines())
    paper = f"loss 5.00 m³, {ASKED['reason']}, asked for by Li Ming, approved by Wang Fang"
    return paper in text, at.hall.audit(at.hall.grant(at.request).head).clean


def cleared_and_opened_anew(at):
    """The clear card, then the opening card with which the meter begins again: 0 in between, and its next binding."""
    ended = at.clear()
    between = at.meter.state, at.meter.meter.remaining
    at.hall.close_account(ACCOUNT, **APPROVED)
    at.hall.open_account(at.blank("next"), meter=METER, volume=5, fen=1250)
    assert at.show("next") == codes.OK
    return ended.remaining, between, at.meter.meter.remaining, at.meter.meter.account.values["binding"]


def read_out(at):
    at.hall.issue_management(at.blank("round"), purpose="round of Mr Zhao")
    at.burn(100)
    assert at.show("round") == codes.OK
    (row,) = at.hall.read_tool(at.reader("round")).reports
    return row.account, row.remaining


def password(at, name="card"):
    """What a check with the password says, and the tries the card has then."""
    told = at.hall.verify(at.reader(name), password=True)
    return told.password, told.tries_left


def found(at):
    return [error.code for error in at.hall.verify(at.reader()).findings]


def commissioned(at):
    """A meter before and after its first card: bound or not, the valve, the gas."""
    before = at.meter.state == BOUND, at.meter.meter.valve.state, at.meter.meter.remaining
    at.open()
    assert at.show() == codes.OK
    return before, (at.meter.state == BOUND, at.meter.meter.valve.state, at.meter.meter.remaining)


def opens_for_somebody(at):
    """The valve after the first card, after power has come back, and after the key: it opens for nobody."""
    with World(seed=3) as world:
        card = world.blank_card()
        world.hall.open_account(world.reader(card), meter=world.number, volume=50)
        assert world.visit(card) == codes.OK
        told = [world.meter.snapshot()["valve"]]
        world.power_off(warned=True)
        world.power_on()
        told.append(world.tick()["valve"])
        return [*told, world.press_key()["valve"]]


def cards_handed_over(at):
    """Who has the blank cards: store and shift, before and after the shift's end."""
    before = at.hall.stock().store, at.hall.stock().hand
    at.hall.close_shift(12500, cards=2)
    at.hall.open_shift("Wang Fang")
    at.hall.stock_out(1)
    return before, (at.hall.stock().store, at.hall.stock().hand, at.hall.stock().used)


def tool_cards(at):
    at.hall.issue_management(at.blank("round"), purpose="round")
    at.hall.issue_clear(at.blank("clear"), account=ACCOUNT, **APPROVED)
    out = [(tool.kind, tool.state) for tool in at.hall.tools()]
    at.hall.end_tool(at.hall.tools()[0].card, at.reader("round"))
    return out, at.hall.tools()[0].state


def whole_estate(at):
    """One call; and the list that a second person ticks off."""
    cards = [at.blank("one"), at.blank("two")]
    done = at.hall.batch(estate(at), lambda: cards.pop(0))
    assert (at.show("one"), at.show("two", at.other)) == (codes.OK, codes.OK)
    page = batch.printed(done)
    signed = stands_on(page, METER, NEIGHBOUR, both("checked by"))
    return [row.sale.volume for row in done.made], at.meter.meter.remaining, at.other.meter.remaining, signed


def registers(at):
    """Issued, replaced, made up and gifted: counted for the day, and by the piece."""
    at.grant(5)
    at.load()
    at.grant(2, "gift")
    at.load()
    at.replace()
    cards = at.hall.daily_report().cards
    given = [(row.kind, row.volume, row.approver) for row in at.hall.grants()]
    return {name: count for name, count in cards.items() if count}, given


def month(at):
    """The month's totals, with lines to sign and the journal's head; a purchase's voucher."""
    told = at.hall.monthly_report()
    paper = stands_on(told.page(), CHINESE["monthly report"], both("checked by"), told.head)
    voucher = stands_on(at.hall.receipt(ACCOUNT).page(), CHINESE["receipt"], "50.00 yuan", "20.00 m³")
    return told.total().orders, told.total().volume, told.total().money, paper, voucher


def one_file(at):
    """Everything that ever was, under one number: holder, both meters, both cards, purchases, make-up."""
    at.grant(5)
    at.load(stand=at.other)
    at.replace()
    at.hall.transfer_account(ACCOUNT, "Li Na", reason="inherited", approver="Wang Fang")
    text = "\n".join(at.hall.history(ACCOUNT).lines())
    return [word for word in ("Li Na", METER, NEIGHBOUR, "loss 5.00", "lost in use", "30.00 m³") if word not in text]


def copied(at):
    """The copy is made beside an open window, and is as good as the ledger; each commit is on the disk at once."""
    window = Hall(Ledger(at.desk.folder / "ledger.db", REGION), at.signer, lambda: at.now)
    at.desk.halls.append(window)
    told = at.hall.backup(at.desk.folder / "weekly.db")
    window.sell(at.reader(), 1)
    with at.hall.ledger.look() as books:
        synchronous = books._connection.exec_driver_sql("PRAGMA synchronous").scalar_one()
    return told.clean, told.head == at.hall.audit(told.head).head, synchronous


FULL = 2  # SQLite: each commit is on the disk before it returns
SLOWEST_CLOCK = 7000  # Hz; DOMAIN 4
BYTE_CLOCKS = 24 + 255 + 2  # a command and an update
READ_CLOCKS = 24 + 8 * 256 + 1  # a command and all of main memory


def minutes_at_the_counter(at, serve):
    """How long a card takes at a chip's slowest clock, in minutes: bytes stored, and a whole read for each look."""
    stored, looks = [], []
    reader = ChipReader(Chip() if not at.path().exists() else _chip(at), trace=looks.append)
    reader.step = stored.append
    serve(reader)
    reads = sum(not line.startswith(("write", "protect")) for line in looks) + len(stored)
    return (len(stored) * BYTE_CLOCKS + reads * READ_CLOCKS) / SLOWEST_CLOCK / 60


def _chip(at):
    chip = Chip()
    chip.restore(at.path().read_bytes() + Path(f"{at.path()}.chip").read_bytes())
    return chip


def opening_takes(at):
    return minutes_at_the_counter(at, lambda card: at.hall.open_account(card, meter=METER, volume=30)) < 15


def payment_takes(at):
    return minutes_at_the_counter(at, lambda card: at.hall.sell(card, 20)) < 3


def counted_as_it_turned(at):
    """A day at 1 m³ an hour, as the rig turns its wheels: how far the register is from the wheels, in pulses."""
    with World(seed=3, demand=[100_000]) as world:
        card = world.blank_card()
        world.hall.open_account(world.reader(card), meter=world.number, volume=50, initial_reading=world.index_volume())
        assert world.visit(card) == codes.OK
        start = world.meter.snapshot()
        world.days(1)
        end = world.meter.snapshot()
        turned, counted = (end[name] - start[name] for name in ("index", "register"))
        return turned >= 2300, abs(counted - turned) <= 1


def user_card_binds_nothing(at):
    """The card of a meter that was cleared, put into it again; and its very first bytes, of the opening."""
    return at.show(), at.show("first")


def first_bytes_kept(at):
    at.open()
    at.copy("card", "first")
    at.load()
    at.sell()
    at.load()
    at.clear()


def kinds_of_order(at):
    """The order's kind on the opening card, and after the next purchase."""
    first = at.card().order.kind
    at.sell()
    return first, at.card().order.kind


def formatted(at):
    """What the one step of issuing leaves: identity protected, the card's own password, its order."""
    before = at.card("new").blank
    at.hall.open_account(at.reader("new"), meter=METER, volume=30)
    with at.reader("new") as reader:
        bits = int.from_bytes(reader.protection(), "little")
        locked_bytes = [at_byte for at_byte in range(IDENTITY_AT, IDENTITY_AT + 13) if not bits >> at_byte & 1]
        own = reader.present(at.signer.card_psc(1))
    with at.reader("new") as reader:
        own = own, reader.present(DEFAULT_PSC)
    return before, len(locked_bytes), own, at.card("new").order.authentic


def told_by_a_card(at):
    """All the trade's calls return, from the card that comes back from the meter: identity, order and report."""
    card = at.card()
    report = card.newest_report.values
    return {
        "region": card.identity.values["region"],
        "customer": card.order.values["account"],
        "meter": report["meter"],
        "amount": card.order.values["amount"],
        "purchase count": report["sequence"],
        "replacement count": report["replacement"],
        "bought": report["bought_total"],
        "used": report["used"],
        "remaining": encode.remaining(report),
        "alarm": report["alarm"],
        "ceiling": report["ceiling"],
        "overdraft": report["overdraft"],
        "date": report["time"] > 0,
    }


class Broken(ChipReader):
    """A reader that fails where it is told to."""

    def __init__(self, at, **fails):
        super().__init__(_chip(at))
        self.fails = fails

    def _connect(self):
        self._fail("connect")
        return self.fails.get("answer", super()._connect())

    def _read(self, address, length):
        self._fail("read")
        return super()._read(address, length)

    def _write(self, address, data):
        self._fail("write")
        super()._write(address, data)

    def _error_counter(self):
        self._fail("counter")
        return super()._error_counter()

    def _fail(self, what):
        if what in self.fails:
            raise OSError(self.fails[what])


def with_reader(**fails):
    return lambda at: at.hall.sell(Broken(at, **fails), 1)


def write_error(at):
    try:
        at.hall.sell(Broken(at, write="short"), 1)
    except GasError as error:
        return error.code, at.hall.sell(at.reader(), 1).resumed
    return None


def neighbour(at):
    opened(at)
    at.hall.open_account(at.blank("neighbour"), meter=NEIGHBOUR, volume=5)


def swapped(at):
    """The card is another when it is to be written: somebody may have changed it."""
    reader = ChipReader(_chip(at))
    other = Chip()
    other.restore(at.path("neighbour").read_bytes() + Path(f"{at.path('neighbour')}.chip").read_bytes())
    present = reader.present

    def presented(psc, **more):
        right = present(psc, **more)
        reader.chip.main[:] = other.main
        return right

    reader.present = presented
    return at.hall.sell(reader, 1)


def bad_chip(path):
    """A chip that acknowledges a byte and keeps another."""
    reader = FileReader(path)
    store, first = reader.store, []

    def stores(plan):
        if plan[0] == MAIN and not first:
            first.append(plan)
            plan = (plan[0], plan[1], plan[2] ^ 1)
        store(plan)

    reader.store = stores
    return reader


def replaced_in_use(at):
    opened(at)
    at.replace()


def cleared_again(at):
    """An old card that is taken back and does not keep what is written on it; and what is on it after another try."""
    try:
        at.hall.take_back(bad_chip(at.path("lost")), clear=True)
    except GasError as error:
        at.hall.take_back(at.reader("lost"), clear=True)
        return error.code, at.card("lost").order.written
    return None


def forgetful(at):
    """The sale is not done before it is read back; repeated it is finished."""
    try:
        at.hall.sell(bad_chip(at.path()), 20, fen=5000)
    except GasError as error:
        with at.hall.ledger.look() as books:
            state = books.orders(ACCOUNT)[-1].state
        done = at.sell()
        return error.code, state, done.state, done.resumed
    return None


def region_of(at, region, root=ROOT):
    """A card of another region, or of another root key, for the same meter."""
    folder = at.desk.folder / "elsewhere"
    folder.mkdir()
    hall = Hall(Ledger(folder / "ledger.db", region), KeyFileSigner(root, region), lambda: at.now)
    at.desk.halls.append(hall)
    hall.open_account(at.blank("foreign"), meter=METER, volume=99)
    return hall


def ordered(at, kind=records.ORDER_USER, card=1, **values):
    """What the meter answers to an order the hall would not write, made with its key; and what it then has."""
    at.forged = True
    frame = encode.encode_order(at.signer, card, ORDER | {"sequence": 2, "bought_total": 5000} | values, kind)
    code, _ = at.meter.visit(card_of(records.CARD_CUSTOMER, frame, card=card))
    return code, at.meter.meter.account.values["bought_total"]


def orders(*rows):
    return lambda at: [ordered(at, **row) for row in rows]


def gas_for_tests(at):
    """Test gas up to the meter's lifetime limit (1 m³ here), whatever cards are made."""
    at.hall.add_meter(METER)
    told = []
    for volume in ("0.60", "0.40", "0.01"):
        name = f"test{len(told)}"
        at.hall.issue_test(at.blank(name), meter=METER, volume=volume, purpose="bench")
        told.append(at.show(name))
    return told


def keyed_twice(at):
    at.hall.issue_key(at.blank("key"), meter=METER, purpose="yearly")
    at.copy("key", "clone")
    return at.show("key"), at.show("clone")


def expired(at):
    opened(at)
    at.hall.issue_management(at.blank("round"), purpose="round", expires=NOON + timedelta(days=1))
    at.meter.meter.clock(EARLIER + 3 * 24 * 60)


def transferred_often(at):
    """The transfer card shown again and again to both meters: what they have."""
    at.exchange()
    for _ in range(4):
        at.show("transfer")
        at.show("transfer", at.other)
    return at.meter.meter.remaining, at.other.meter.remaining


def from_the_factory(at):
    """A meter without keys of the region's, and the maker's file with what opens it."""
    at.meter = Stand(at.signer, keyed=False)
    at.hall.add_meter(METER)
    lot = at.desk.folder / "lot.csv"
    lot.write_text(f"{METER},{FACTORY_KEY.hex()}\n")
    lot.chmod(0o600)
    at.first = {"meter": METER, "purpose": "first keys", "factory_keys": lot}


def into_service(at):
    """Keys, setting, opening: what the meter says to the last two before the first, and in their order."""
    at.hall.issue_key(at.blank("key"), **at.first)
    at.hall.issue_setting(at.blank("setting"), purpose="estate", meter=METER, index="43.21")
    at.open()
    early = at.show("setting"), at.show()
    return early, (at.show("key"), at.show("setting"), at.show()), at.meter.meter.shown_index


def keys_too_late(at):
    from_the_factory(at)
    at.open()
    at.blank("key")


def limited(at, **most):
    at.hall.set_limits(**most)


def next_day(at, **more):
    at.load()
    at.now += timedelta(days=1)
    return at.sell(1, **more).state


def totals(at):
    """The meter's bought total after the exchange, and the customer's own, in m³."""
    at.hall.sell(at.reader(), 10, fen=2500)
    at.load(stand=at.other)
    with at.hall.ledger.look() as books:
        bought = sum(order.paid_pulses for order in books.orders(ACCOUNT) if order.kind is None)
    return at.other.meter.account.values["bought_total"], bought


def no_sale(at):
    """A make-up in the day's report, and what the meter has had."""
    before = at.hall.daily_report()
    at.grant(5)
    at.load()
    after = at.hall.daily_report()
    sales = [told.total("purchase").orders + told.total("opening").orders for told in (before, after)]
    return (
        sales[1] - sales[0],
        after.total().money - before.total().money,
        at.meter.meter.account.values["bought_total"],
    )


def refunded(at):
    at.hall.approve_grant(at.ask(10, "refund"), "Wang Fang")
    at.write()
    at.load()
    return at.hall.pay_refund(at.request).fen, at.meter.meter.remaining


def reversed_again(at):
    """A purchase that was still on the card was reversed by a refund; that was cancelled, and the gas is back."""
    return at.hall.grant(at.request).state, at.meter.meter.remaining


def lower_replacement(at):
    """Both numbers at the meter: the newer one first, then the older."""
    at.replace()
    at.load()
    return at.show("lost"), at.meter.meter.account.values["replacement"]


# ---------------------------------------------------------------------- the table
# Rule, its words, set-up, act -> what must come of it: a code if it is refused, else what the act gives.

ONE = [
    ("1.1", "the wheels are right where they are ahead", slow, shown, (Verdict.APART, 10)),
    ("1.1", "and where the meter is", fast, shown, (Verdict.APART, -10)),
    ("1.1", "they agree", burned, shown, (Verdict.AGREES, 0)),
    ("1.2", "the make-up is what the wheels say", fast, suggested, (Category.APART, Decimal("0.10"), 0)),
    ("1.2", "gas the meter missed is no make-up", slow, suggested, (Category.APART, 0, Decimal("0.10"))),
    ("1.3", "amount and reason stand on paper, to be signed", asked, slip, True),
    ("1.3", "not on a card before it is approved", asked, lambda at: at.write(), errors.GRANT_NOT_APPROVED),
    ("1.3", "then it is, and the customer has what he bought", approved, made_up, (10, 3000)),
    (
        "1.4",
        "data and gas go over by transfer card",
        burned,
        through,
        (TRANSFERRED, 0, 2300, (ACCOUNT, 500, 100_000, 0)),
    ),
    (
        "1.4",
        "no purchase meanwhile",
        lambda at: (burned(at), at.begin_exchange()),
        lambda at: at.sell(),
        errors.EXCHANGE,
    ),
    ("1.5", "no make-up for a meter that lives", burned, lambda at: at.ask(23, "dead meter"), errors.DEAD_METER_LIMIT),
    ("1.5", "dead: its gas is made up", dead, dead_made_up, 2300),
    ("1.5", "and no more of it", dead, lambda at: at.ask("23.01", "dead meter"), errors.DEAD_METER_LIMIT),
    (
        "1.5",
        "the dead meter serves nobody",
        dead,
        lambda at: at.hall.open_account(at.blank("next"), meter=METER, volume=1),
        errors.METER_DEAD,
    ),
    ("1.6", "broken, and its gas was used", used_after_all, lambda at: at.ask(20, "held"), errors.NOT_HELD),
    ("1.8", "found unused: made up, taken in, cleared", issued, found_and_cleared, (30, False, codes.SHAPE, 3000)),
    (
        "1.10",
        "who asks does not approve",
        asked,
        lambda at: at.hall.approve_grant(at.request, "LI MING"),
        errors.APPROVER,
    ),
    (
        "1.10",
        "none without its reason",
        opened,
        lambda at: at.hall.request_makeup(ACCOUNT, 5, kind="loss", reason="", requester="Li Ming"),
        errors.FIELD,
    ),
    ("1.10", "filed with reason and names, under the journal's hash", opened, filed, (True, True)),
    (
        "1.11",
        "the clear card empties the meter, which begins anew",
        burned,
        cleared_and_opened_anew,
        (23, (CLOSED, 0), 500, 2),
    ),
    (
        "1.11",
        "none without approval",
        burned,
        lambda at: at.hall.issue_clear(at.blank("clear"), account=ACCOUNT, **APPROVED | {"approver": "Li Ming"}),
        errors.APPROVER,
    ),
    ("1.12", "the management card reads the meter out", burned, read_out, (ACCOUNT, 22)),
    ("1.13", "the password is right", opened, password, ("right", 3)),
    (
        "1.13",
        "the password is wrong: a copy on another chip",
        lambda at: (opened(at), at.security(1, b"\x12\x34\x56")),
        password,
        ("refused", 2),
    ),
    ("1.14", "locked after wrong passwords", locked, found, [errors.CARD_DEAD]),
    ("1.14", "a locked card sells nothing", locked, lambda at: at.sell(), errors.CARD_DEAD),
    ("1.14", "its customer gets another card", locked, lambda at: at.replace("broken").held, 0),
    ("1.15", "the card, then the first gas", new, commissioned, ((False, SHUT, 0), (True, OPEN, 3000))),
    ("1.15", "nothing is sold before", issued, lambda at: at.sell(), errors.OPENING_NOT_LOADED),
    ("1.15", "the valve opens only for somebody who stands there", new, opens_for_somebody, [OPEN, SHUT, OPEN]),
    ("1.16", "blank cards go from shift to shift", shift, cards_handed_over, ((2, 2), (3, 1, 1))),
    (
        "1.16",
        "a card that is missing is asked after",
        shift,
        lambda at: at.hall.close_shift(12500, cards=1),
        errors.SHIFT_DIFFERS,
    ),
    (
        "1.16",
        "without a card none is issued",
        no_stock,
        lambda at: at.hall.open_account(at.reader(), meter=METER, volume=1),
        errors.STOCK_SHORT,
    ),
    ("1.16", "a replacement takes one of the shift's", shift, lambda at: at.replace() and at.hall.stock().used, 2),
    (
        "1.17",
        "tool cards are listed until they are back",
        opened,
        tool_cards,
        ([("management", "out"), ("clear", "out")], "taken back"),
    ),
    ("1.18", "a whole estate at once, and the list to be checked", new, whole_estate, ([30, 20], 3000, 2000, True)),
    (
        "1.18",
        "one fault and none is made",
        new,
        lambda at: at.hall.batch(estate(at, METER), lambda: at.blank("one")),
        errors.BATCH_ROWS,
    ),
    (
        "1.19",
        "cards issued and replaced, gas made up and given",
        opened,
        registers,
        (
            {"issued": 2, "replaced": 1, "made up": 1, "gifted": 1},
            [("loss", 5, "Wang Fang"), ("gift", 2, "Wang Fang")],
        ),
    ),
    (
        "1.20",
        "cash and sales do not agree",
        shift,
        lambda at: at.hall.close_shift(12499, cards=2),
        errors.SHIFT_DIFFERS,
    ),
    ("1.20", "they do", shift, lambda at: at.hall.close_shift(12500, cards=2).money, 12500),
    (
        "1.20",
        "and nothing is sold before the next",
        lambda at: (shift(at), at.load(), at.hall.close_shift(12500, cards=2)),
        lambda at: at.sell(),
        errors.SHIFT_MISSING,
    ),
    ("1.21", "totals and vouchers of a month", shift, month, (2, 50, 12500, True, True)),
    ("1.22", "one file for all that was", exchanged, one_file, []),
    ("1.23", "a copy beside an open window; commits on the disk", opened, copied, (True, False, FULL)),
    ("1.24", "no sale while the meter is in test", suspended, lambda at: at.sell(), errors.SUSPENDED),
    ("1.24", "no other IC meter meanwhile", suspended, lambda at: at.begin_exchange(), errors.SUSPENDED),
    (
        "1.24",
        "nor a dead one's heir",
        suspended,
        lambda at: at.hall.exchange_dead(account=ACCOUNT, meter=NewMeter(NEIGHBOUR, 0), closing_index=7, **APPROVED),
        errors.SUSPENDED,
    ),
    (
        "1.24",
        "no test of a meter that is being exchanged",
        lambda at: (burned(at), at.begin_exchange()),
        lambda at: at.hall.suspend(ACCOUNT, at.reading(), "runs fast"),
        errors.EXCHANGE,
    ),
    (
        "1.24",
        "nor of one that may be cleared",
        lambda at: (burned(at), at.hall.issue_clear(at.blank("clear"), account=ACCOUNT, **APPROVED)),
        lambda at: at.hall.suspend(ACCOUNT, at.reading(), "runs fast"),
        errors.BINDING_ENDS,
    ),
    ("1.26", "an opening: 15 minutes", new, opening_takes, True),
    ("1.26", "a payment: 3 minutes", opened, payment_takes, True),
    ("1.27", "the register adds at most a pulse to the wheels' error", new, counted_as_it_turned, (True, True)),
]

OUTPUTS = {
    "region": REGION,
    "customer": ACCOUNT,
    "meter": METER,
    "amount": 3000,
    "purchase count": 1,
    "replacement count": 0,
    "bought": 3000,
    "used": 700,
    "remaining": 2300,
    "alarm": 500,
    "ceiling": 100_000,
    "overdraft": 0,
    "date": True,
}

THREE = [
    ("3.1", "a blank card sells nothing", lambda at: at.blank(), lambda at: at.sell(), errors.CARD_BLANK),
    ("3.1", "a blank card in a meter", lambda at: at.blank(), lambda at: at.show(), codes.NOT_OURS),
    ("3.1", "an opening card binds", issued, lambda at: (at.show(), at.meter.state), (codes.OK, BOUND)),
    ("3.1", "a user order binds no meter", new, orders({}), [(codes.NOT_BOUND, 0)]),
    ("3.1", "one card, one meter", issued, lambda at: at.show(stand=at.other), codes.METER),
    (
        "3.1",
        "one meter, one card",
        issued,
        lambda at: at.hall.open_account(at.blank("second"), meter=METER, volume=1),
        codes.ALREADY_BOUND,
    ),
    ("3.2", "opening card, then user card", opened, kinds_of_order, (records.ORDER_OPENING, records.ORDER_USER)),
    (
        "3.2",
        "shown again it changes nothing",
        opened,
        lambda at: (at.show(), at.meter.meter.remaining),
        (codes.REPEAT, 3000),
    ),
    ("3.2", "it binds nothing any more", first_bytes_kept, user_card_binds_nothing, (codes.NOT_BOUND, codes.BINDING)),
    ("3.3", "read", burned, lambda at: at.hall.read_back(at.reader()).remaining, 23),
    ("3.3", "write a new card", new, lambda at: at.open() or at.card().order.kind, records.ORDER_OPENING),
    ("3.3", "write a replacement", opened, lambda at: at.replace().replacement, 1),
    ("3.3", "write gas", opened, lambda at: at.sell().bought_total, 5000),
    (
        "3.3",
        "format: identity, protection and password, as it is issued",
        lambda at: at.blank("new"),
        formatted,
        (True, 13, (True, False), True),
    ),
    ("3.3", "is it ours?", opened, lambda at: at.hall.verify(at.reader()).good, True),
    (
        "3.4",
        "a check costs a stranger's card no try",
        lambda at: (at.blank(), at.change(IDENTITY_AT, bytes(range(1, 14)))),
        lambda at: (password(at), tries_left(_chip(at).security[0])),
        (("not presented", 3), 3),
    ),
    ("3.4", "nor a card at its last", last_try, password, ("not presented", 1)),
    ("3.5", "what a card returns", burned, told_by_a_card, OUTPUTS),
    ("3.6", "port", opened, lambda at: at.hall.sell(FileReader(at.path("nowhere")), 1), codes.NO_CARD),
    ("3.6", "reader", opened, with_reader(connect="cable"), errors.READER),
    ("3.6", "no card", opened, lambda at: at.hall.sell(ChipReader(None), 1), codes.NO_CARD),
    ("3.6", "the wrong way round: nothing answers", opened, with_reader(answer=b"\xff" * 4), codes.NO_CARD),
    ("3.6", "read error", opened, with_reader(read="short"), errors.READER),
    ("3.6", "write error; the sale is finished by repeating it", opened, write_error, (errors.READER, True)),
    ("3.6", "error counter unreadable", opened, with_reader(counter="short"), errors.READER),
    ("3.6", "card dead", locked, lambda at: at.sell(), errors.CARD_DEAD),
    ("3.6", "a stop before the last try", last_try, lambda at: at.sell(), errors.LAST_TRY),
    ("3.6", "which somebody may spend on purpose", last_try, lambda at: at.sell(rescue=True).state, "written"),
    (
        "3.7",
        "not of this system",
        lambda at: (opened(at), at.change(IDENTITY_AT, b"\x11")),
        lambda at: at.sell(),
        codes.NOT_OURS,
    ),
    (
        "3.7",
        "not a user card",
        lambda at: (opened(at), at.hall.issue_management(at.blank("round"), purpose="x")),
        lambda at: at.hall.sell(at.reader("round"), 1),
        codes.KIND,
    ),
    (
        "3.7",
        "not a new card",
        opened,
        lambda at: at.hall.open_account(at.reader(), meter=NEIGHBOUR, volume=1),
        errors.CARD_NOT_BLANK,
    ),
    (
        "3.7",
        "wrong password",
        lambda at: (opened(at), at.security(1, b"\x12\x34\x56")),
        lambda at: at.sell(),
        codes.PASSWORD_REFUSED,
    ),
    ("3.7", "region", lambda at: region_of(at, 0x22), lambda at: at.hall.sell(at.reader("foreign"), 1), codes.REGION),
    (
        "3.7",
        "number: another account's card",
        lambda at: (approved(at), at.hall.open_account(at.blank("n"), meter=NEIGHBOUR, volume=1)),
        lambda at: at.hall.write_grant(at.reader("n"), at.request),
        errors.GRANT_ACCOUNT,
    ),
    (
        "3.8",
        "a copy that says another amount: the order's own sum",
        lambda at: (opened(at), at.change(ORDER_AT + 30, b"\x77")),
        lambda at: at.sell(),
        codes.CRC,
    ),
    ("3.8", "clearing failed; it is repeated", replaced_in_use, cleared_again, (errors.READ_BACK_DIFFERS, False)),
    (
        "3.8",
        "above the limit",
        lambda at: (opened(at), limited(at, purchase=10)),
        lambda at: at.sell(),
        errors.OVER_LIMIT,
    ),
    (
        "3.8",
        "purchase count below the meter's: at the hall",
        lambda at: (
            opened(at),
            at.copy("card", "before"),
            at.sell(),
            at.load(),
            at.change(0, at.path("before").read_bytes()),
        ),
        lambda at: at.sell(),
        codes.OLDER,
    ),
    (
        "3.8",
        "and at the meter",
        lambda at: (opened(at), at.copy("card", "before"), at.sell(), at.load()),
        lambda at: at.show("before"),
        codes.OLDER,
    ),
    ("3.8", "gas still on the card: nothing sold", sold, lambda at: at.sell(1), errors.GAS_ON_CARD),
    ("3.8", "opening card not in a meter yet: nothing sold", issued, lambda at: at.sell(), errors.OPENING_NOT_LOADED),
    (
        "3.8",
        "no two refunds one after the other",
        lambda at: (refund_paid(at), at.hall.approve_grant(at.ask(5, "refund"), "Wang Fang")),
        lambda at: at.write(),
        errors.REFUND_AFTER,
    ),
    (
        "3.8",
        "no refund on a card just replaced",
        lambda at: (read(at), at.replace(), at.load(), at.hall.approve_grant(at.ask(5, "refund"), "Wang Fang")),
        lambda at: at.write(),
        errors.REFUND_AFTER,
    ),
    (
        "3.9",
        "it takes what it lacks, whatever number comes next",
        opened,
        orders({"sequence": 7, "bought_total": 9000}),
        [(codes.OK, 9000)],
    ),
    ("3.9", "the same order again gives nothing", opened, orders({}, {}), [(codes.OK, 5000), (codes.REPEAT, 5000)]),
    (
        "3.9",
        "the same count with another amount is none of its orders",
        opened,
        orders({}, {"bought_total": 6000}),
        [(codes.OK, 5000), (codes.SEQUENCE_CONFLICT, 5000)],
    ),
    (
        "3.9",
        "a lower count is none either",
        opened,
        orders({"sequence": 7}, {"sequence": 3, "bought_total": 9000}),
        [(codes.OK, 5000), (codes.OLDER, 5000)],
    ),
    ("3.9", "a lower total takes nothing away", opened, orders({"bought_total": 2000}), [(codes.OK, 3000)]),
    ("3.10", "255 is the last a meter is told", opened, orders({"replacement": 255}), [(codes.OK, 5000)]),
    ("3.11", "the meter refuses a lower one", read, lower_replacement, (codes.REPLACED, 1)),
    ("3.12", "a transfer card gives once, however often it is used", burned, transferred_often, (0, 2300)),
    ("3.12", "test gas ends at the meter's own limit", new, gas_for_tests, [codes.OK, codes.OK, codes.TEST_GAS]),
    ("3.12", "a key card is good once", opened, keyed_twice, (codes.OK, codes.KEY_VERSION)),
    ("3.12", "a card past its expiry", expired, lambda at: at.show("round"), codes.EXPIRED),
    (
        "3.13",
        "keys, setting, opening card: in this order",
        from_the_factory,
        into_service,
        ((codes.REGION, codes.REGION), (codes.OK, codes.OK, codes.OK), 4321),
    ),
    (
        "3.13",
        "no first keys for a meter that has been opened",
        keys_too_late,
        lambda at: at.hall.issue_key(at.reader("key"), **at.first),
        errors.FIELD,
    ),
    (
        "3.13",
        "no index is set on a meter that is bound",
        opened,
        lambda at: at.hall.issue_setting(at.blank("setting"), purpose="x", meter=METER, index=1),
        codes.NOT_UNBOUND,
    ),
    (
        "3.14",
        "another region's card is nothing to the meter",
        lambda at: (opened(at), region_of(at, 0x22)),
        lambda at: at.show("foreign"),
        codes.REGION,
    ),
    (
        "3.14",
        "nor is another key's",
        lambda at: (issued(at), region_of(at, REGION, bytes(range(1, 33)))),
        lambda at: at.show("foreign"),
        codes.MAC,
    ),
    ("3.15", "a stopped customer buys nothing", stopped, lambda at: at.sell(), errors.ACCOUNT_STOPPED),
    ("3.15", "nor is given anything", promised_and_stopped, lambda at: at.write(), errors.ACCOUNT_STOPPED),
    ("3.15", "nor does a closed one", closed, lambda at: at.sell(), errors.ACCOUNT_CLOSED),
    ("3.15", "nor is he asked for a make-up", closed, lambda at: at.ask(1), errors.ACCOUNT_CLOSED),
    (
        "3.16",
        "of a purchase",
        lambda at: (opened(at), limited(at, purchase="19.99")),
        lambda at: at.sell(),
        errors.OVER_LIMIT,
    ),
    ("3.16", "of a day", lambda at: (opened(at), limited(at, day=49)), lambda at: at.sell(), errors.OVER_LIMIT),
    ("3.16", "and the next day", lambda at: (sold(at), limited(at, day=50)), next_day, "written"),
    ("3.16", "of a month", lambda at: (opened(at), limited(at, month=49)), lambda at: at.sell(), errors.OVER_LIMIT),
    ("3.16", "what is given is not counted", given_and_limited, lambda at: at.sell().state, "written"),
    ("3.17", "the meter's total begins anew, the customer's goes on", exchanged, totals, (3300, 4000)),
    ("3.18", "a make-up is no sale and is in the meter's total", opened, no_sale, (0, 0, 3500)),
    ("3.19", "money back against the meter's report", read, refunded, (2500, 4000)),
    (
        "3.19",
        "and not before it",
        lambda at: (read(at), at.grant(10, "refund")),
        lambda at: at.hall.pay_refund(at.request),
        errors.REFUND_NOT_PROVEN,
    ),
    ("3.19", "nor after it was taken back", taken_back, lambda at: at.hall.pay_refund(at.request), errors.GRANT_ENDED),
    ("3.19", "a reversal that is taken back", taken_back, reversed_again, ("cancelled", 5000)),
    ("3.20", "another card than a moment ago", neighbour, swapped, errors.CARD_SWAPPED),
    ("3.20", "done only after reading back", opened, forgetful, (errors.READ_BACK_DIFFERS, "pending", "written", True)),
    (
        "3.21",
        "purchase counts to 9999 and beyond",
        opened,
        orders({"sequence": 9999}, {"sequence": 10_000, "bought_total": 6000}),
        [(codes.OK, 5000), (codes.OK, 6000)],
    ),
    ("3.21", "the largest volume", opened, orders({"bought_total": 99_999_999}), [(codes.OK, 99_999_999)]),
    ("3.21", "and no larger", opened, lambda at: at.sell("1000000"), codes.RANGE),
    ("3.21", "steps of a hundredth", opened, lambda at: at.sell("0.01").volume, Decimal("0.01")),
    ("3.21", "and none finer", opened, lambda at: at.sell("0.001"), errors.NOT_WHOLE_PULSES),
]

TABLE = [*ONE, *THREE]

# Rule -> module, its table, the row's words: cases that are played beside their service.
ELSEWHERE = [
    ("1.1", "test_reconcile_drift", "FIRST", "DOMAIN 1.1: the mechanical index is the truth"),
    ("1.1", "test_reconcile_drift", "FIRST", "DOMAIN 1.1: so it is where the meter counted too much"),
    ("1.4", "test_exchange", "CASES", "RULES 1: the new meter credits what the final record says is left"),
    ("1.6", "test_replacement", "CASES", "DOMAIN 1.6: broken after a purchase that never reached the meter"),
    ("1.6", "test_replacement", "CASES", "DOMAIN 1.6: the same, its report only after the re-issue"),
    ("1.7", "test_replacement", "CASES", "DOMAIN 1.7: lost, never used: re-issue only"),
    ("1.8", "test_replacement", "CASES", "DOMAIN 1.8: lost, never used, found, check shows it unused"),
    ("1.9", "test_replacement", "CASES", "DOMAIN 1.9: lost in use, everything loaded: nothing is made up"),
    ("1.9", "test_replacement", "CASES", "DOMAIN 1.9: lost in use: made up is only what was not loaded"),
    ("1.10", "test_grants", "REFUSED", "DOMAIN 1.10: not approved"),
    ("1.10", "test_grants", "REFUSED", "DOMAIN 1.10: written twice"),
    ("1.25", "test_suspension", "TESTS", "DOMAIN 1.25: below 1 m³ nothing is refunded"),
    ("1.25", "test_suspension", "TESTS", "DOMAIN 1.25: 1 m³ is no longer below it"),
    ("3.4", "test_verification", "CARDS", "DOMAIN 3.4: ours, whole, alive"),
    ("3.4", "test_verification", "CARDS", "DOMAIN 3.4: blank"),
    ("3.10", "test_replacement", "NUMBERS", "DOMAIN 3.10: 255 is the last a card is given"),
]


@pytest.mark.parametrize(
    ("setup", "act", "expected"),
    [row[2:] for row in TABLE],
    ids=[f"DOMAIN {rule}: {words}" for rule, words, *_ in TABLE],
)
def test_rule_holds(counter, setup, act, expected):
    setup(counter)
    refusal = isinstance(expected, int) and expected < codes.REPEAT
    before = counter.state()
    try:
        outcome = act(counter)
    except GasError as error:
        outcome = error.code
    assert outcome == expected
    if refusal:
        assert counter.state() == before
    for hall in counter.desk.halls:
        assert hall.audit().findings == ()
    if not counter.forged:
        paid = counter.paid()
        assert all(stand.meter.account.values["bought_total"] <= paid for stand in (counter.meter, counter.other))


@pytest.mark.parametrize(
    ("rule", "module", "table", "words"), ELSEWHERE, ids=[f"DOMAIN {row[0]}: {row[3]}" for row in ELSEWHERE]
)
def test_case_beside_its_service_is_there(rule, module, table, words):
    source = importlib.import_module(module)
    assert words in [row[0] for row in getattr(source, table)]
    # And the table is one that is played.
    assert re.search(rf"parametrize\([^@]*\bfor row in {table}\]", Path(source.__file__).read_text("utf-8"))


def rules():
    """The numbers of sections 1 and 3, in their order."""
    text = DOMAIN.read_text("utf-8")
    one, three = (text[text.index(f"\n## {n}. ") : text.index(f"\n## {n + 1}. ")] for n in (1, 3))
    return one, three


def test_every_rule_is_a_row_and_every_row_a_rule():
    in_document = [number for section in rules() for number in re.findall(r"\*\*([13]\.[0-9]+)\*\*", section)]
    in_table = {row[0] for row in (*TABLE, *ELSEWHERE)}
    assert in_document == [*(f"1.{n}" for n in range(1, 28)), *(f"3.{n}" for n in range(1, 22))]
    assert in_table == set(in_document)


def test_no_paragraph_of_the_two_sections_is_without_a_number():
    for section in rules():
        blocks = re.split(r"\n\n|\n(?=\s*- |\| )", section.strip())
        left = [block for block in blocks if not re.search(r"\*\*[13]\.[0-9]+\*\*", block)]
        # What has none: headings, where section 1 comes from, the head of its table, what the codes are of.
        assert all(
            block.startswith(
                ("## ", "From the working rules", "**Lost and broken cards.**", "| | case", "|---", "- **What their")
            )
            for block in left
        ), left


def test_rules_cited_in_code_and_tests_are_there():
    known = {number for section in rules() for number in re.findall(r"\*\*([13]\.[0-9]+)\*\*", section)}
    root = DOMAIN.parents[1]
    cited = set()
    for folder in ("host", "simulator", "tests"):
        for path in (root / folder).rglob("*.py"):
            cited |= set(re.findall(r"DOMAIN ([13]\.[0-9]+)", path.read_text("utf-8")))
    assert cited <= known
    assert cited


def test_rows_are_told_apart():
    names = [(row[0], row[1]) for row in TABLE]
    assert len(set(names)) == len(names)
