"""Long stories drawn by chance: purchases, pulls, cuts, replacements, old images, clones, and the books after each.

A *story* is a list of plain tuples, the first of which makes the town: one hall, its customers, each with a meter and
a card. ``draw`` makes one from a seed, the same on every target; ``play`` plays it with the checkers looking after
every step, then lets everything settle: each customer finishes what was begun, brings his newest card to his meter
and back to the hall, and all he has paid for is there. Two things are asked: gasrig.checkers, and ``Plain``, a
model of a few lines. What breaks a rule is shrunk to the shortest story that still does.

    ("town", seed, customers, memory, alarm, ceiling, overdraft)    memory 0 FRAM, 1 EEPROM in four lanes; pulses
    ("open", u, pulses, byte, how)      customer u's account is opened; the hall is stopped before it stores that byte
                                        on the card, or not at all: ``how`` is of STOPS
    ("sell", u, pulses, byte, how)      a purchase; what was begun and not finished is finished first
    ("read", u)                         the hall reads his card back
    ("window", u, place, pulses, foreign)  an image of his at the hall's window: read (0 pulses) or sold to; on a chip
                                        with his card's password, or a stranger's; place 0 is his newest image
    ("replace", u)                      his card is lost; a replacement card takes up the account's total
    ("grant", u, pulses, byte, how)     he is given gas: asked for, approved, written; stopped as a purchase is
    ("refund", u, pulses, byte, how)    so much of his gas is to be paid back; ("pay", u) its money, once it is proven;
    ("cancel", u)                       the refund on his card is taken back by another order
    ("exchange", u, byte, how)          a transfer card is made for another meter of his, once; stopped as a purchase is
    ("carry", u, operation, early)      the transfer card goes into his meter, pulled before that operation on its bus
                                        or, from 60 on, not at all; then into the new one, which is his once it is bound
    ("through", u, byte, how)           the hall reads the transfer card, and writes his card for the new meter
    ("copy", u) ("restore", u)          the ledger is copied; the copy is restored as it must be, and nobody's in person
    ("adopt", u) ("probe", u)           his card's word is taken; a probe is put on it
    ("roll", u, place) ("own", u)       he goes on with a copy that shows that image; with his newest card again
    ("visit", u)                        his card in his meter, and out again
    ("pull", u, operation, early)       the same, pulled before that operation on its bus; early: the switch tells
    ("swap", u, operation, v)           the same, and the card of v is in its place
    ("show", u, v, place, foreign)      an image of v's in the meter of u, on a chip with v's password or a stranger's
    ("forge", u, place, byte, value)    that image in his meter, a byte of its order changed, the checksum mended
    ("cut visit", u, write, torn)       the power goes in the n-th thing stored during a visit, torn that way
    ("cut burn", u, pulses, write, torn)  the same in a batch of pulses; ("cut boot", u, write, torn) in the recovery
    ("burn", u, pulses) ("low", u, pulses)  gas; gas until so many pulses are left
    ("key", u) ("wait", u, minutes) ("clock", u, minutes) ("cut", u, warned) ("battery", u, minutes)

Numbers that name one of several things are taken modulo how many there are, and a step that finds nothing to do does
nothing: every part of a story is a story.
"""

import argparse
import json
import multiprocessing
import random
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from gascard import codes
from gascard.chip import SECURITY, Chip
from gascard.crc import crc16
from gascard.frames import HEAD
from gascard.records import IDENTITY_AT, ORDER, ORDER_AT, size_of
from gascard.sle4442 import TRIES_FULL, tries_left
from gashall import errors, units
from gashall.adoption import Adopted
from gashall.errors import GasError, ReaderError
from gashall.exchange import Exchange, NewMeter
from gashall.grants import Grant
from gashall.readers.chip import ChipReader, Plan
from gashall.services import ReadBack, Sale
from gashall.signer import KeyFileSigner
from gasrig import bench, recorder
from gasrig.bench import TEST_REGION
from gasrig.checkers import Card, Store, Violation, Watch, opened_by_person, read_card
from gasrig.faults import FaultModel, torn_card_byte, torn_writes
from gasrig.handset import Entry
from gasrig.targets import TARGETS, BenchError, CPythonTarget, Target, TargetError, open_target, unavailable
from gasrig.town import (
    FOREIGN_PSC,
    KEY_VERSION,
    LANE_LENGTH,
    NO_ACCOUNT,
    PEOPLE,
    PULSE_WEIGHT,
    START,
    TRAVEL_MS,
    Desk,
    OrderRow,
    Served,
    Site,
    Sold,
    Told,
    as_card,
    foreign,
    judge_burned,
    judge_credit,
    judge_images,
    judge_town,
    of_company,
)

__all__ = [
    "PLAYER_RULES",
    "SIZES",
    "STEPS",
    "STOPS",
    "Found",
    "Outcome",
    "Plain",
    "Player",
    "Step",
    "Story",
    "Street",
    "command",
    "draw",
    "explore",
    "play",
    "read_story",
    "shrink",
    "written_out",
]

Step: TypeAlias = tuple[Any, ...]
Story: TypeAlias = list[Step]

STEPS = 150  # of a story, unless told otherwise
SEEDS = "1..100"
VIOLATION = 3  # exit code
MOST_VIOLATIONS = 5  # after so many no more seeds are begun
SHRINK_PLAYS = 400
MINUTE_MS = 60_000
MOST_CARDS = 200  # of one customer; his replacement number ends at 255
NEAR = 3  # pulses from a threshold from which on gas is drawn pulse by pulse
TOKENS_FULL = 8
LANES = 4  # of a meter with an EEPROM
NOT_PULLED = 0xFFFF
CARRIED = 60  # an operation from which on a transfer card is not pulled
TOWARDS_OPEN = b"\x02"  # an entry's data (gasrig.recorder)
MAC_SIZE = 8
COUNTER = 260  # the place of the error counter in a dump of 264 bytes
STOPS = ("not", "pulled", "dies", "torn and pulled", "torn and dies")

PLAYER_RULES: dict[str, str] = {
    "plain": "Bought, burned and remaining are what a model of a few lines says. (DESIGN D2, D10)",
    "settles": "Left in peace, every customer gets what he has paid for, to the pulse. "
    "(DESIGN 9: card pulled, power cut)",
    "hall": "No customer's doing makes hall or ledger contradict themselves. (DESIGN D5; RULES 1: settling)",
    "fault": "Nothing makes the firmware meet what it was not built for. (DESIGN 8; STYLE: portable code)",
}


# Codes that no customer should ever hear, whatever he shows; but LEDGER_BEHIND once a copy was restored.
_CONTRADICTIONS = (errors.LEDGER, errors.LEDGER_BEHIND, errors.FIELD, errors.READER_USE, errors.OPENING_DIFFERS)


_RECOVERING = """
    SELECT COUNT(*) FROM recoveries JOIN bindings ON recoveries.binding = bindings.id
    WHERE bindings.account = ? AND recoveries.ended_at IS NULL
"""


class HallDied(BaseException):
    """The hall's program ends here. Not an Exception: no service may catch it."""


# ---------------------------------------------------------------------- a town where more can happen


_Answer: TypeAlias = Sale | ReadBack | Grant | Exchange | Adopted


class Counter(Desk):
    """A hall that dies, whose cards are pulled and torn, and that replaces lost cards."""

    restored = False

    def stopped(self, chip: Chip, service: Callable[[ChipReader], "_Answer"], byte: int = 0, how: int = 0) -> Served:
        """One customer at the window; stopped before byte number ``byte`` it stores, as STOPS[``how``] says.

        The code is CARD_OUT too where the program died: to the customer it is the same. ``chip`` is his.
        """

        def served(reader: ChipReader) -> "_Answer":
            if how:
                reader.step = _stopper(reader, byte, how)
            try:
                return service(reader)
            except HallDied:
                raise ReaderError(codes.CARD_OUT) from None

        answer = self._serve(chip, served, None)
        if answer.code in _CONTRADICTIONS and not (self.restored and answer.code == errors.LEDGER_BEHIND):
            raise Violation("hall", f"the hall answers {errors.words(answer.code)[0]}")
        return answer

    def opening(self, meter: str, index: int, pulses: int, chip: Chip, byte: int = 0, how: int = 0) -> Served:
        """Open the account of a meter whose wheels began at ``index``, on ``chip``, blank or half made."""
        volume, initial = units.volume(pulses, PULSE_WEIGHT), units.volume(index, PULSE_WEIGHT)

        def service(reader: ChipReader) -> Sale:
            return self._hall.open_account(
                reader, meter=meter, volume=volume, initial_reading=initial, **self._particulars
            )

        return self.stopped(chip, service, byte, how)

    def sale(self, chip: Chip, pulses: int, byte: int = 0, how: int = 0) -> Served:
        """Sell on ``chip``, its last try spent if need be."""
        volume = units.volume(pulses, PULSE_WEIGHT)
        return self.stopped(chip, lambda reader: self._hall.sell(reader, volume, rescue=True), byte, how)

    def gift(self, chip: Chip, sort: str, pulses: int, byte: int = 0, how: int = 0) -> Served:
        """A gift or refund of the account of ``chip``: asked for and approved, unless one waits, and written."""
        image = chip.dump()
        return self.stopped(chip, lambda reader: self.granting(reader, image, sort, pulses), byte, how)

    def payment(self, chip: Chip) -> Served:
        """Read ``chip`` back and pay the refund that is written."""
        image = chip.dump()
        return self.stopped(chip, lambda reader: self.paying(reader, image))

    def taking_back(self, chip: Chip) -> Served:
        """The refund that is written is cancelled by another order on ``chip``."""
        image = chip.dump()
        return self.stopped(chip, lambda reader: self.cancelling(reader, image))

    def exchanging(self, old: str, new: str, index: int, chip: Chip, byte: int = 0, how: int = 0) -> Served:
        """The transfer card from meter ``old`` to ``new``, whose wheels read ``index``, on ``chip``."""
        return self.stopped(chip, lambda reader: self.beginning(reader, old, new, index), byte, how)

    def taking_in(self, chip: Chip) -> Served:
        """Read the transfer card ``chip`` back."""
        return self.stopped(chip, self._hall.read_exchange)

    def for_new_meter(self, chip: Chip, byte: int = 0, how: int = 0) -> Served:
        """Write the customer's card ``chip`` for the meter he has got."""
        return self.stopped(chip, lambda reader: self._hall.exchange_card(reader, rescue=True), byte, how)

    def adopting(self, chip: Chip) -> Served:
        """Take the word of ``chip``."""
        return self.stopped(chip, lambda reader: self._hall.adopt(reader, **PEOPLE))

    def probing(self, chip: Chip) -> Served:
        """Put a probe on ``chip``."""
        return self.stopped(chip, lambda reader: self._hall.probe(reader, overwrite=True, rescue=True))

    def declared(self, old: "Wall", new: "Wall", chip: Chip) -> Served:
        """``old`` is declared dead by its index, and ``chip``, a blank one, becomes the customer's for ``new``."""

        def service(reader: ChipReader) -> Exchange:
            account, initial = self._account_at(old.number), units.volume(new.index_at_start, PULSE_WEIGHT)
            meter = NewMeter(number=new.number, initial_reading=initial, pulse_weight=PULSE_WEIGHT)
            index = units.volume(old.index, PULSE_WEIGHT)
            self._hall.exchange_dead(account=account, meter=meter, closing_index=index, **PEOPLE)
            return self._hall.exchange_card(reader, account=account, reason="broken")

        return self.stopped(chip, service)

    def has(self, meter: str) -> bool:
        """Whether the meter is some account's."""
        return self._account_at(meter) != NO_ACCOUNT

    def knows(self, chip: Chip) -> bool:
        """Whether the ledger has the card."""
        return self._account_of(chip.dump()) != NO_ACCOUNT

    def recovering(self, chip: Chip) -> bool:
        """Whether the account of ``chip`` waits for a report."""
        account = self._account_of(chip.dump())
        return bool(self._db.execute(_RECOVERING, (account,)).fetchone()[0])

    def reading(self, chip: Chip) -> Served:
        """Read ``chip`` back."""
        return self.stopped(chip, self._hall.read_back)

    def replacement(self, meter: str) -> tuple[Chip, list[Sold]] | None:
        """A replacement card for the account of a meter; None while an order is unfinished or the opening not loaded.

        What no report proves loaded is held, and made up on the new card at once, approved. The orders that were made.
        """
        rows = [row for row in self.orders() if row.meter == meter]
        if not rows or rows[0].state != "done" or rows[-1].state == "pending":
            return None
        account, chip, hall = rows[-1].account, Chip(), self._hall
        if (refund := self._open_grant(account, "refund", written=True)) is not None:
            with suppress(GasError):  # what is proven is paid first; what is not is cancelled by the new card
                hall.pay_refund(refund)
        try:
            told = hall.replace(ChipReader(chip), account=account, reason="lost in use", again=True)
        except GasError as error:
            if error.code not in (errors.EXCHANGE, errors.RECOVERING, errors.BINDING_ENDS):
                raise
            return None
        if told.held and not self.recovering(chip):
            asked = hall.request_makeup(account, told.held, kind="held", reason="not loaded", requester="Li Ming")
            hall.approve_grant(asked.number, "Wang Fang")
            hall.write_grant(ChipReader(chip), asked.number)
        chip.power_off()
        made = []
        for row in self.orders():
            if row.meter != meter or row.id <= rows[-1].id:
                continue
            said = read_card(as_card(row), self.keys_of(meter)).order
            if said is None or (said.bought_total, said.sequence) != (row.released, row.sequence):
                raise Violation("hall", "a replacement's order is not authentic, or says another thing than its row")
            made.append(Sold(row, said))
        last = made[-1]
        less = last.row.released < rows[-1].released and not self.restored
        if less or read_card(chip.dump(), self.keys_of(meter)).order != last.order:
            raise Violation("hall", "a replacement card says less than was paid for, or another thing than its row")
        return chip, made

    def shows(self, image: bytes, stranger: int) -> Chip:
        """A chip that shows an image: with the password of that card's number, or a stranger's."""
        chip = _copy(foreign(image))
        if not stranger:
            chip.security[1:4] = self._signer.card_psc(number_of(image))
        return chip

    def mend(self, chip: Chip) -> bool:
        """Present the card's password, so that all its tries are there again; whether it was taken."""
        with ChipReader(chip) as reader:
            return reader.present(self._signer.card_psc(number_of(chip.dump())), rescue=True)


class Wall(Site):
    """A meter whose power goes in the middle of a write, and whose card is exchanged in the middle of a visit."""

    def __init__(self, number: str, key: bytes, tool_key: bytes, target: Target, index: int, *, eeprom: bool) -> None:
        """As Site; ``eeprom``: an EEPROM in four lanes, else FRAM in one."""
        self.eeprom = False
        super().__init__(number, key, tool_key, target, index)
        self.minutes = START
        if eeprom:
            self.eeprom = True
            self.meter.build(
                meter=number,
                key=key,
                tool_key=tool_key,
                key_version=KEY_VERSION,
                pulse_weight=PULSE_WEIGHT,
                memory=bench.MEMORY_EEPROM,
                lanes=LANES,
                lane_length=LANE_LENGTH,
                travel_ms=TRAVEL_MS,
                register=index,
                index=index,
                minutes=START,
            )
            self.meter.entries()
            self.watch = Watch(number, key, LANES, LANE_LENGTH)
            self.store = self.watch.made(self.cells(), self.meter.keys(), index)

    def cells(self) -> bytes:
        """The meter's memory."""
        size = 0x1000 + (LANES if self.eeprom else 1) * LANE_LENGTH
        if isinstance(self.target, CPythonTarget):
            return bytes(self.target.bench.memory.cells[:size])
        return self.meter.memory(size)

    def _bound_before(self, old: Store) -> None:
        # ``old`` is how it stood: if there is another binding now, it began here.
        if self.store.bound and (not old.bound or self.store.binding != old.binding):
            self.index_at_binding = self.index

    def swap(self, chip: Chip, other: Chip, operation: int) -> int:
        """``chip`` goes in and before that operation on its bus ``other`` is in its place; the meter's code."""
        meter, old = self.meter, self.store
        before, before_other = chip.dump(), other.dump()
        meter.pull_at(operation, early=False, other=other)
        code = meter.insert(chip)
        self.awake_ms += meter.last["elapsed_ms"]
        chip.restore(meter.remove().dump())
        other.restore(meter.other().dump())
        meter.pull_at(NOT_PULLED, early=False)
        self.look()
        self._bound_before(old)
        self.watch.visit(before, chip.dump(), self.cells(), meter.keys())
        self.watch.visit(before_other, other.dump(), self.cells(), meter.keys())
        return code

    def batch(self, pulses: int) -> None:
        """So many pulses are counted by the interrupt and handed to the core in one piece."""
        self.meter.pulses(pulses)
        self.look()

    def set_clock(self, minutes: int) -> None:
        """Set the clock, with or without power: minutes since 2000-01-01 UTC."""
        self.minutes = minutes
        self.meter.clock(minutes)

    def battery(self, minutes: int) -> None:
        """The battery is pulled and another put in; the clock, which had none either, says ``minutes``."""
        self.meter.power_off(warned=False)
        self.set_clock(minutes)
        self.power_on()

    def cut_in(self, action: Callable[[], object], write: int, torn: int, chip: Chip, in_flight: int = 0) -> None:
        """Play ``action`` and have the power go in the ``write``-th thing it stores, torn in one of the ways there are.

        ``chip`` is the card in it. ``in_flight``: pulses the meter was told in it. Both numbers modulo what there is.
        """
        meter, old = self.meter, self.store
        before, card = chip.dump(), bytearray(chip.dump())
        memories = {recorder.STORE: bytearray(self.cells()), recorder.KEYS: bytearray(meter.keys())}
        meter.keep(0)
        meter.entries()
        action()
        entries = meter.entries()
        stored = [at for at, entry in enumerate(entries) if entry.kind != recorder.DRIVE]
        if stored:
            last = stored[write % len(stored)]
            meter.back(0)
            for entry in entries[:last]:
                self._goes_through(entry, memories, card)
            self._is_torn(entries[last], torn, memories, card)
            chip.restore(card)
            self.watch.cut(in_flight)
            self.power_on()
        self.look()
        self._bound_before(old)
        self.watch.visit(before, chip.dump(), self.cells(), meter.keys())

    def _goes_through(self, entry: Entry, memories: dict[int, bytearray], card: bytearray) -> None:
        if entry.kind == recorder.CARD:
            card[_place(entry)] = entry.data[0]
        elif entry.kind != recorder.DRIVE:
            memories[entry.kind][entry.address : entry.address + len(entry.data)] = entry.data
            self.meter.poke(entry.kind, entry.address, entry.data)
        elif entry.data == TOWARDS_OPEN:
            opened_by_person(None if entry.asked_ms < 0 else entry.asked_ms)

    def _is_torn(self, entry: Entry, torn: int, memories: dict[int, bytearray], card: bytearray) -> None:
        if entry.kind == recorder.CARD:
            place = _place(entry)
            values = torn_card_byte(card[place], entry.data[0])
            card[place] = values[torn % len(values)] & (TRIES_FULL if place == COUNTER else 0xFF)
        else:
            # The key record is in the controller's flash, whatever the memory outside is.
            model = FaultModel.EEPROM if self.eeprom and entry.kind == recorder.STORE else FaultModel.FRAM
            ways = [*torn_writes(model, bytes(memories[entry.kind]), entry.address, entry.data)]
            way = ways[torn % len(ways)]
            self.meter.poke(entry.kind, way.address, way.content)
        self.meter.world(place=entry.place, index=entry.wheels, index_milli=entry.wheels_milli, minutes=self.minutes)


class Street:
    """One counter, and a wall for each customer. ``sessions`` counts cards that went into a meter or a window.

    Checks after a step look at what the step may have changed: the meter it was about, and the images that are new.
    """

    def __init__(
        self, customers: int, target: str, seed: int, *, eeprom: bool, alarm: int, ceiling: int, overdraft: int
    ) -> None:
        """``seed`` makes the region's root and the meters' numbers; the rest as for Town and Wall. TargetError."""
        signer = KeyFileSigner(sha256(b"icgas test street %d" % seed).digest(), TEST_REGION)
        self.alarm, self.ceiling, self.overdraft = alarm, ceiling, overdraft
        self.sessions = 0
        self.counter = Counter(signer, START, alarm=alarm, ceiling=ceiling, overdraft=overdraft)
        self.walls: list[Wall] = []
        self.images: dict[int, list[bytes]] = {}  # card number: what that card ever looked like, oldest first
        self._known: set[bytes] = set()
        self._fresh: list[bytes] = []
        self._bearers: list[dict[bytes, bytes]] = [{} for _ in range(customers)]  # order's MAC: an image with it
        self._rows: list[tuple[OrderRow, ...]] | None = None  # of the ledger, until the hall does something
        self._sales: list[list[Sold]] = [[] for _ in range(customers)]
        self.others: list[Wall | None] = [None] * customers
        """Of each customer the meter that is to take the place of his, or did."""
        self._company: list[list[bytes]] = [[] for _ in range(customers)]  # images of his transfer card
        self.restored = False
        self._build = signer, seed, target, eeprom
        try:
            for place in range(customers):
                self.walls.append(self._wall(place))
        except BaseException:
            self.close()
            raise
        self.keys = [wall.watch.keys for wall in self.walls]

    def _wall(self, place: int, another: int = 0) -> Wall:
        signer, seed, target, eeprom = self._build
        number = f"{seed % 10**6:06d}{2025 + place + another:08d}"
        key, tool_key = signer.meter_keys(number, KEY_VERSION)
        return Wall(number, key, tool_key, open_target(target), 100 + 7 * place, eeprom=eeprom)

    def close(self) -> None:
        """End the targets and forget the ledger."""
        for wall in [*self.walls, *self.others]:
            if wall is not None:
                wall.target.close()
        self.counter.close()

    def other(self, u: int) -> Wall:
        """The meter that is to take the place of that of ``u``; TargetError."""
        wall = self.others[u]
        if wall is None:
            wall = self.others[u] = self._wall(u, 1000)
        return wall

    def exchanged(self, u: int) -> None:
        """It has taken it."""
        old, self.walls[u] = self.walls[u], self.other(u)
        self.others[u] = old
        self.keys[u] = self.walls[u].watch.keys
        self._rows = None

    def transfer(self, u: int, chip: Chip) -> None:
        """The transfer card of ``u`` came out of a reader like this."""
        self._company[u].append(chip.dump())

    def restore(self, copy: bytes) -> None:
        """The hall restores its ledger, as it must be done."""
        self.restored = self.counter.restored = True
        self._rows = None
        self.counter.put_back(copy)
        self.counter.minutes += 1
        self.counter.mark_restored()

    def written(self, chip: Chip) -> None:
        """A card came out of a reader like this."""
        image = chip.dump()
        if image in self._known:
            return
        self._known.add(image)
        self._fresh.append(image)
        if image[-3:] != FOREIGN_PSC:
            self.images.setdefault(number_of(image), []).append(image)
        for u, keys in enumerate(self.keys):
            order = read_card(image, keys).order
            if order is not None:
                self._bearers[u].setdefault(order.mac, image)

    def booked(self, served: Served, chip: Chip) -> int:
        """The hall has served; its code."""
        self.sessions += 1
        self._rows = None
        for sold in served.made:
            self.sold_to(sold)
        self.written(chip)
        return served.code

    def sold_to(self, sold: Sold) -> None:
        """An order was made."""
        self._rows = None
        meter = sold.row.meter
        place = next(u for u in range(len(self.walls)) if meter in [wall.number for wall in self.meters(u)])
        self._sales[place].append(sold)

    def meters(self, u: int) -> list[Wall]:
        """All meters of ``u``, his own first."""
        return [wall for wall in (self.walls[u], self.others[u]) if wall is not None]

    def sold(self, u: int) -> int:
        """Pulses customer ``u`` has paid for: what the hall has booked, and so owes him.

        What an exchange releases once more was paid for before. A refund the restored ledger does not know of lapsed.
        """
        rows = [row for row, _ in self._sales[u] if row.kind != "exchange"]
        return sum([row.paid for row in rows if row.paid > 0 or not self.restored])

    def pending(self, u: int) -> OrderRow | None:
        """The order of ``u`` that was begun and not finished."""
        return next((row for row in self.rows(u) if row.state == "pending"), None)

    def rows(self, u: int) -> tuple[OrderRow, ...]:
        """The ledger's orders for ``u``."""
        if self._rows is None:
            orders = self.counter.orders()
            self._rows = [tuple([row for row in orders if row.meter == wall.number]) for wall in self.walls]
        return self._rows[u]

    def check(self, u: int) -> None:
        """Judge what a step at this meter, or with any card, may have changed. Violation."""
        wall = self.walls[u]
        for other in self.walls:
            judge_images(other.standing, self._fresh)
        self._fresh.clear()
        told = self.told(u)
        judge_burned(wall.standing, told)
        judge_credit(wall.standing, told)
        if of_company(told.images):
            judge_town([one.standing for one in self.meters(u)], told.sales, told.images, restored=self.restored)

    def check_all(self) -> None:
        """Judge everything at rest. Violation."""
        for u, wall in enumerate(self.walls):
            wall.look()
            self.check(u)
            judge_images(wall.standing, self._known)

    def told(self, u: int) -> Told:
        """What hall and customers did with the meter of ``u``; of all images those that bear each order first."""
        images = (*self._bearers[u].values(), *self._company[u])
        return Told(tuple(self._sales[u]), self.rows(u), images, self.restored)


def number_of(image: bytes) -> int:
    """The card number an image claims."""
    return int.from_bytes(image[IDENTITY_AT + 5 : IDENTITY_AT + 9], "big")


def _place(entry: Entry) -> int:
    # Where in a dump of 264 bytes a card's entry stands: main, protection, security.
    return (0, 256, 260)[entry.address >> 8] + (entry.address & 0xFF)


def _stopper(reader: ChipReader, byte: int, how: int) -> Callable[[Plan], None]:
    left = byte

    def step(plan: Plan) -> None:
        nonlocal left
        left -= 1
        if left >= 0:
            return
        reader.step = None
        if STOPS[how].startswith("torn") and reader.chip is not None:
            area, place, new = plan
            values = torn_card_byte(reader.chip.value(plan), new)
            value = values[(byte * 7 + how) % len(values)]
            reader.store((area, place, value & TRIES_FULL if (area, place) == (SECURITY, 0) else value))
        if STOPS[how].endswith("dies"):
            raise HallDied
        reader.pull()

    return step


# ---------------------------------------------------------------------- the oracle


class Plain:
    """The whole of prepayment, in pulses: what is bought is the greatest total shown, what is left is not burned."""

    def __init__(self, customers: int) -> None:
        self.bought = [0] * customers
        self.burned = [0] * customers
        self.sequence = [0] * customers
        self.owed = [0] * customers
        """The corrections: what was burned beyond zero at the meter before."""
        self.before = [0] * customers
        """Burned at the meter before."""

    def would_be(self, u: int, card: Card) -> tuple[int, int]:
        """Bought total and sequence once the meter of ``u`` has taken what is on ``card``."""
        order = card.order
        if order is None or order.sequence <= self.sequence[u] or (self.sequence[u] == 0 and not order.opening):
            return self.bought[u], self.sequence[u]
        if order.refund:
            return order.bought_total, order.sequence
        return max(self.bought[u], order.bought_total), order.sequence

    def load(self, u: int, total: int, sequence: int, owed: int = 0) -> None:
        """The meter of ``u`` has taken an order, whose correction total ``owed`` stands."""
        self.bought[u], self.sequence[u], self.owed[u] = total, sequence, owed

    def left(self, u: int) -> int:
        """What is left for ``u``."""
        return self.bought[u] - self.burned[u] - self.owed[u]

    def move(self, u: int, left: int) -> None:
        """What is left goes to another meter, which has burned nothing."""
        self.before[u] += self.bought[u] - self.owed[u] - left
        self.bought[u], self.owed[u], self.burned[u], self.sequence[u] = max(0, left), max(0, -left), 0, 1


# ---------------------------------------------------------------------- the steps


@dataclass
class _Customer:
    """What a customer has at home; his meter has his number."""

    chip: Chip | None = None  # his card
    half: Chip | None = None  # a blank on which his opening was begun
    first_gas: int = 0
    transfer: Chip | None = None  # of his exchange, half made or whole
    stage: str = ""  # of it: "begun", "carried", "through"
    copied: str = ""  # what it was when the ledger was copied
    lost: bool = False  # whether the ledger that was restored knows less of it
    cards: list[int] = field(default_factory=list)  # the numbers of all he ever had


class Player:
    """Plays steps on a town of its own, the checkers and ``plain`` looking after each. A context manager.

    ``steps`` counts those that found something to do. Violation from ``step`` and ``settle``.
    """

    def __init__(self, head: Step, target: str = "cpython") -> None:
        """``head`` is a story's first step. TargetError if the target is not here."""
        _, seed, customers, memory, alarm, ceiling, overdraft = head
        self.customers = [_Customer() for _ in range(max(1, customers))]
        self.street = Street(
            len(self.customers),
            target,
            seed,
            eeprom=bool(memory & 1),
            alarm=alarm,
            ceiling=ceiling,
            overdraft=overdraft,
        )
        self.plain = Plain(len(self.customers))
        self.steps = 0
        self.copy = self.street.counter.copy()

    def __enter__(self) -> "Player":
        return self

    def __exit__(self, *_: object) -> None:
        self.street.close()

    def images(self, u: int) -> list[bytes]:
        """All images of the cards customer ``u`` ever had, those of a card oldest first."""
        return [image for number in self.customers[u].cards for image in self.street.images.get(number, ())]

    def _clone(self, u: int, place: int, stranger: int) -> Chip | None:
        images = self.images(u % len(self.customers))
        return self.street.counter.shows(images[-1 - place % len(images)], stranger & 1) if images else None

    def step(self, step: Step) -> int:
        """Play one step and judge what it may have changed; its code or count, 0 if it found nothing to do."""
        name, u, *numbers = step
        u %= len(self.customers)
        action: Callable[..., int | None] = getattr(self, "_" + name.replace(" ", "_"))
        before = self.street.sessions
        told = action(u, *numbers)
        if told is None and self.street.sessions == before:
            return 0
        self.steps += 1
        self.street.check(u)
        self._agree(u)
        return told or 0

    def _agree(self, u: int) -> None:
        wall, plain = self.street.walls[u], self.plain
        snapshot = wall.meter.last
        if wall.store.over:
            return  # until the new meter has its final record
        plain.burned[u] = snapshot["index"] - wall.index_at_binding
        said = snapshot["bought_total"], snapshot["sequence"]
        if said != (plain.bought[u], plain.sequence[u]):
            raise Violation("plain", f"customer {u}: the meter says {said}, not {plain.bought[u], plain.sequence[u]}")
        if snapshot["binding"] and not 0 <= snapshot["remaining"] - plain.left(u) <= wall.watch.behind:
            raise Violation("plain", f"customer {u}: {snapshot['remaining']} remaining, not {plain.left(u)}")

    def _shown(self, u: int, card: Card, code: int, *, stopped: bool = False) -> int:
        # What the meter makes of a card is a matter of its code; where power or card went, of what it did.
        took = self.street.walls[u].meter.last
        new = self.plain.would_be(u, card)
        if code in (codes.FAULT, codes.STORE_LOST):
            raise Violation("fault", f"customer {u}: the meter answers {code}")
        if stopped or code in (codes.CARD_OUT, codes.REPORT_NOT_WRITTEN):
            if (took["bought_total"], took["sequence"]) == new and new[1] != self.plain.sequence[u]:
                self.plain.load(u, *new, 0 if card.order is None else card.order.correction_total)
        elif code == codes.OK and new[1] != self.plain.sequence[u]:
            self.plain.load(u, *new, 0 if card.order is None else card.order.correction_total)
        return code

    # --- at the hall

    def _open(self, u: int, pulses: int, byte: int = 0, how: int = 0) -> int | None:
        street, customer = self.street, self.customers[u]
        if customer.chip is not None:
            return None
        if street.pending(u) is None:
            customer.first_gas = pulses
        chip = customer.half or Chip()
        wall = street.walls[u]
        served = street.counter.opening(
            wall.number, wall.index_at_start, customer.first_gas, chip, byte, how % len(STOPS)
        )
        code = street.booked(served, chip)
        if code in (codes.PASSWORD_REFUSED, errors.LAST_TRY, errors.CARD_NOT_BLANK, errors.CARD_DEAD):
            customer.half = None  # spoilt: the next try is on a new blank
        else:
            customer.half = chip
        if code in (codes.OK, codes.ALREADY_BOUND):
            customer.half = None
            self._owns(customer, chip)
        return code

    def _owns(self, customer: _Customer, chip: Chip) -> None:
        customer.chip = chip
        number = number_of(chip.dump())
        if number not in customer.cards:
            customer.cards.append(number)

    def _sell(self, u: int, pulses: int, byte: int = 0, how: int = 0) -> int | None:
        chip = self.customers[u].chip
        if chip is None:
            return None
        begun = self.street.pending(u)
        if begun is not None and begun.kind == "exchange":
            return self._through(u, byte, how)
        pulses = max(1, pulses) if begun is None else max(1, begun.paid)
        return self.street.booked(self.street.counter.sale(chip, pulses, byte, how % len(STOPS)), chip)

    def _grant(self, u: int, pulses: int, byte: int = 0, how: int = 0) -> int | None:
        return self._given(u, "gift", pulses, byte, how)

    def _refund(self, u: int, pulses: int, byte: int = 0, how: int = 0) -> int | None:
        return self._given(u, "refund", pulses, byte, how)

    def _given(self, u: int, sort: str, pulses: int, byte: int, how: int) -> int | None:
        chip = self.customers[u].chip
        if chip is None:
            return None
        served = self.street.counter.gift(chip, sort, max(1, pulses), byte, how % len(STOPS))
        return self.street.booked(served, chip)

    def _pay(self, u: int) -> int | None:
        chip = self.customers[u].chip
        return None if chip is None else self.street.booked(self.street.counter.payment(chip), chip)

    def _cancel(self, u: int) -> int | None:
        chip = self.customers[u].chip
        return None if chip is None else self.street.booked(self.street.counter.taking_back(chip), chip)

    def _read(self, u: int) -> int | None:
        chip = self.customers[u].chip
        return None if chip is None else self.street.booked(self.street.counter.reading(chip), chip)

    def _window(self, u: int, place: int, pulses: int, stranger: int) -> int | None:
        chip = self._clone(u, place, stranger)
        if chip is None:
            return None
        if not pulses:
            return self.street.booked(self.street.counter.reading(chip), chip)
        begun = self.street.pending(u)
        served = self.street.counter.sale(chip, pulses if begun is None else max(1, begun.paid))
        if not served.code:
            self.customers[u].chip = chip  # what was sold is on this one
        return self.street.booked(served, chip)

    def _replace(self, u: int) -> int | None:
        customer = self.customers[u]
        if customer.chip is None or len(customer.cards) > MOST_CARDS:
            return None
        made = self.street.counter.replacement(self.street.walls[u].number)
        if made is None:
            return None
        chip, orders = made
        for sold in orders:
            self.street.sold_to(sold)
        self.street.written(chip)
        self._owns(customer, chip)
        return 0

    def _roll(self, u: int, place: int) -> int | None:
        chip = self._clone(u, place, 0)
        if chip is None:
            return None
        self.customers[u].chip = chip
        return 0

    def _own(self, u: int) -> int | None:
        customer = self.customers[u]
        if customer.chip is None:
            return None
        customer.chip = self._newest(u, customer.chip)
        return 0

    def _exchange(self, u: int, byte: int = 0, how: int = 0) -> int | None:
        street, customer = self.street, self.customers[u]
        if customer.chip is None or customer.stage or not street.walls[u].store.bound:
            return None
        chip = customer.transfer or Chip()
        other = street.other(u)
        served = street.counter.exchanging(
            street.walls[u].number, other.number, other.index_at_start, chip, byte, how % len(STOPS)
        )
        street.sessions += 1
        spoilt = served.code in (codes.PASSWORD_REFUSED, errors.LAST_TRY, errors.CARD_NOT_BLANK, errors.CARD_DEAD)
        customer.transfer = None if spoilt else chip
        street.transfer(u, chip)
        if not served.code:
            customer.stage = "begun"
        return served.code

    def _carry(self, u: int, operation: int = CARRIED, early: int = 0) -> int | None:
        street, customer = self.street, self.customers[u]
        chip = customer.transfer
        if customer.stage != "begun" or chip is None:
            return None
        old, new = street.walls[u], street.other(u)
        code = codes.OK
        for wall, pull_at in ((old, operation if operation < CARRIED else None), (new, None)):
            street.sessions += 1
            code, after = wall.visit(chip.dump(), pull_at, bool(early & 1))
            chip.restore(after)
            street.transfer(u, chip)
        final = old.store.final
        if new.store.bound and final is not None:
            left = final.remaining
            if old.store.bound or not 0 <= left - self.plain.left(u) <= old.watch.behind:
                raise Violation("plain", f"customer {u}: {left} moved, not {self.plain.left(u)}")
            self.plain.move(u, left)
            street.exchanged(u)
            street.walls[u].meter.snapshot()
            customer.stage = "carried"
        return code

    def _through(self, u: int, byte: int = 0, how: int = 0) -> int | None:
        street, customer = self.street, self.customers[u]
        if customer.stage != "carried" or customer.transfer is None or customer.chip is None:
            return None
        street.sessions += 1
        served = street.counter.taking_in(customer.transfer)
        if served.code:
            return served.code
        code = street.booked(street.counter.for_new_meter(customer.chip, byte, how % len(STOPS)), customer.chip)
        if not code:
            customer.stage = "through"
        return code

    def _copy(self, u: int) -> int:
        self.copy = self.street.counter.copy()
        for customer in self.customers:
            if not customer.lost:  # else the ledger knows no more than the copy before
                customer.copied = customer.stage
        return 0

    def _restore(self, u: int) -> int:
        self.street.restore(self.copy)
        for customer in self.customers:
            customer.lost = customer.stage != customer.copied
        return 0

    def _adopt(self, u: int) -> int | None:
        chip = self.customers[u].chip
        return None if chip is None else self.street.booked(self.street.counter.adopting(chip), chip)

    def _probe(self, u: int) -> int | None:
        chip = self.customers[u].chip
        return None if chip is None else self.street.booked(self.street.counter.probing(chip), chip)

    # --- at a meter

    def _insert(
        self, u: int, chip: Chip, pull_at: int | None = None, early: bool = False, *, stranger: bool = False
    ) -> int:
        self.street.sessions += 1
        card = read_card(chip.dump(), self.street.keys[u])
        wall = self.street.walls[u]
        tokens = wall.meter.snapshot()["tokens"]
        refused = stranger and tries_left(chip.security[0]) > 1
        code, after = wall.visit(chip.dump(), pull_at, early)
        chip.restore(after)
        self.street.written(chip)
        if code == codes.MAC and wall.meter.last["tokens"] != tokens - 1:
            raise Violation("lockout_held", f"customer {u}: a forged card is judged and costs no token")
        if refused:
            card = Card(card.number, None, ())  # no credit for what stands on a stranger's chip
        return self._shown(u, card, code, stopped=pull_at is not None)

    def _visit(self, u: int) -> int | None:
        chip = self.customers[u].chip
        return None if chip is None else self._insert(u, chip)

    def _pull(self, u: int, operation: int, early: int) -> int | None:
        chip = self.customers[u].chip
        return None if chip is None else self._insert(u, chip, operation, bool(early & 1))

    def _show(self, u: int, v: int, place: int, stranger: int) -> int | None:
        chip = self._clone(v, place, stranger)
        return None if chip is None else self._insert(u, chip, stranger=bool(stranger & 1))

    def _forge(self, u: int, place: int, byte: int, value: int) -> int | None:
        chip = self._clone(u, place, 0)
        if chip is None:
            return None
        # Anything between the frame's start and its MAC, kind, length and version among it.
        size = HEAD + size_of(ORDER)
        chip.main[ORDER_AT + byte % size] ^= value & 0xFF
        end = ORDER_AT + size + MAC_SIZE
        chip.main[end : end + 2] = crc16(chip.main, ORDER_AT + 1, end).to_bytes(2, "big")
        return self._insert(u, chip)

    def _swap(self, u: int, operation: int, v: int) -> int | None:
        chip, other = self.customers[u].chip, self.customers[v % len(self.customers)].chip
        if chip is None or other is None or chip is other:
            return None
        self.street.sessions += 1
        card = read_card(chip.dump(), self.street.keys[u])
        code = self.street.walls[u].swap(chip, other, operation)
        self.street.written(chip)
        self.street.written(other)
        return self._shown(u, card, code, stopped=True)

    def _cut_visit(self, u: int, write: int, torn: int) -> int | None:
        chip = self.customers[u].chip
        if chip is None:
            return None
        self.street.sessions += 1
        wall = self.street.walls[u]
        card = read_card(chip.dump(), self.street.keys[u])
        inserted = _copy(chip.dump())

        def action() -> None:
            wall.meter.insert(inserted)
            wall.meter.remove()

        wall.cut_in(action, write, torn, chip)
        self.street.written(chip)
        return self._shown(u, card, codes.OK, stopped=True)

    def _cut_burn(self, u: int, pulses: int, write: int, torn: int) -> int | None:
        wall = self.street.walls[u]
        snapshot = wall.meter.snapshot()
        pulses = min(pulses, snapshot["remaining"] + self.street.overdraft)
        if not snapshot["flows"] or pulses <= 0:
            return None
        wall.cut_in(lambda: wall.meter.pulses(pulses), write, torn, Chip(), pulses)
        return pulses

    def _cut_boot(self, u: int, write: int, torn: int) -> int:
        wall = self.street.walls[u]

        def action() -> None:
            wall.meter.power_off(warned=False)
            wall.meter.power_on()

        wall.cut_in(action, write, torn, Chip())
        return 0

    def _burn(self, u: int, pulses: int) -> int | None:
        # In one batch as far as no threshold can be reached, then pulse by pulse.
        wall = self.street.walls[u]
        snapshot = wall.meter.snapshot()
        left, alarm = snapshot["remaining"], self.street.alarm
        room = left - alarm if left > alarm else left + self.street.overdraft
        batch = min(pulses, room - NEAR)
        if batch <= NEAR or not snapshot["flows"]:
            return wall.burn(pulses) or None
        wall.batch(batch)
        return batch + wall.burn(pulses - batch)

    def _low(self, u: int, pulses: int) -> int | None:
        return self._burn(u, max(0, self.street.walls[u].meter.snapshot()["remaining"] - pulses))

    def _key(self, u: int) -> int:
        self.street.walls[u].key()
        return 0

    def _wait(self, u: int, minutes: int) -> int:
        self.street.walls[u].wait(minutes * MINUTE_MS)
        return 0

    def _clock(self, u: int, minutes: int) -> int:
        self.street.walls[u].set_clock(minutes)
        return 0

    def _cut(self, u: int, warned: int) -> int:
        self.street.walls[u].cut(bool(warned & 1))
        return 0

    def _battery(self, u: int, minutes: int) -> int:
        self.street.walls[u].battery(minutes)
        return 0

    # --- the end of a story

    def settle(self) -> None:
        """Everybody finishes what was begun; then all that was paid for is on the meters, and the books balance."""
        for u, customer in enumerate(self.customers):
            if customer.chip is None and self.street.pending(u) is None:
                continue  # who never was a customer
            if self.street.restored:
                self._recover(u, customer)
            else:
                self._finish(u, customer)
            paid, bought = self.street.sold(u), self.plain.bought[u] - self.plain.owed[u] + self.plain.before[u]
            if bought > paid or (bought < paid and not self.street.restored):
                raise Violation("settles", f"customer {u} has paid for {paid}, the meter has {bought}")
            self.street.check(u)
        self.street.check_all()

    def _recover(self, u: int, customer: _Customer) -> None:
        # What was done since the copy is lost to the ledger: a card, or an exchange, it does not know of.
        counter, old = self.street.counter, self.street.others[u]
        if customer.chip is None:
            return
        customer.chip = self._newest(u, customer.chip)
        if customer.stage in ("begun", "carried") and not customer.lost:
            return
        if customer.lost:
            if customer.copied or customer.stage == "begun" or old is None or not counter.has(old.number):
                return
            # The old meter will never speak again: it counts as dead, and the new one tells the probe what it has.
            customer.chip = Chip()
            served = counter.declared(old, self.street.walls[u], customer.chip)
            if self.street.booked(served, customer.chip):
                raise Violation("settles", f"customer {u}: the hall answers {errors.words(served.code)[0]}")
            self._owns(customer, customer.chip)
        for _ in range(3):
            if not counter.knows(customer.chip) or not counter.recovering(customer.chip):
                return
            self._adopt(u)
            self._probe(u)
            self._bring(u, customer.chip)
            self._adopt(u)
        if tries_left(customer.chip.security[0]) > 1:
            raise Violation("settles", f"the account of customer {u} is still recovering")

    def _finish(self, u: int, customer: _Customer) -> None:
        for _ in range(4):
            if customer.chip is not None:
                break
            self._open(u, customer.first_gas)
        if customer.chip is None:
            raise Violation("settles", f"the opening of customer {u} does not come to an end")
        if customer.transfer is not None:
            self._moved(u, customer)
        customer.chip = self._newest(u, customer.chip)
        if self.street.pending(u) is not None:
            self._sell(u, 0)
        for _ in range(2):
            self._bring(u, customer.chip)
        code = self._pay(u)
        if code and tries_left(customer.chip.security[0]) > 1:
            raise Violation("settles", f"customer {u}: the hall answers {errors.words(code)[0]} to his newest card")

    def _moved(self, u: int, customer: _Customer) -> None:
        # An exchange that was begun cannot be taken back.
        for _ in range(6):
            if customer.stage == "through":
                return
            if self._exchange(u) == errors.PENDING_ELSEWHERE and self.street.pending(u) is not None:
                self._sell(u, 0)
            self._carry(u)
            self._through(u)
            self._wait(u, 31)
        if customer.stage:
            raise Violation("settles", f"the exchange of customer {u} is {customer.stage}")

    def _newest(self, u: int, chip: Chip) -> Chip:
        # The card that bears the last order made for him, if it was ever whole on one.
        def rank(image: bytes) -> tuple[int, int, int]:
            card = read_card(image, self.street.keys[u])
            if card.order is None:
                return 0, 0, 0
            report = card.newest
            return card.order.sequence, 0 if report is None else report.report_number, tries_left(image[260])

        best = max([chip.dump(), *self.images(u)], key=rank)
        return chip if rank(chip.dump())[0] >= rank(best)[0] else self.street.counter.shows(best, 0)

    def _bring(self, u: int, chip: Chip) -> None:
        code = codes.OK
        for _ in range(6):
            code = self._insert(u, chip)
            self._agree(u)
            if code in (codes.OK, codes.REPEAT):
                return
            if code == codes.REPORT_NOT_WRITTEN and tries_left(chip.security[0]) <= 1:
                return
            if code == codes.LOCKED_OUT:
                self._wait(u, 31)
            elif code == codes.REFUND_TOO_LARGE:
                self._cancel(u)  # its gas is burned
            elif code == codes.CEILING:
                self._key(u)
                self._low(u, max(0, self.street.ceiling - 1))
            elif code == codes.CARD_BARRED and not self.street.counter.mend(chip):
                break
        raise Violation("settles", f"customer {u}: the meter answers {code} to his newest card")


def _copy(image: bytes) -> Chip:
    chip = Chip()
    chip.restore(image)
    return chip


# ---------------------------------------------------------------------- a story


class Outcome(NamedTuple):
    """How a story went: ``rule`` is None if it is clean, else it was broken ``at`` that step, its length: at rest."""

    story: Story
    rule: str | None
    text: str
    at: int
    sessions: int
    steps: int


def play(story: Sequence[Step], target: str = "cpython", *, settle: bool = True) -> Outcome:
    """Play a story to its end, and let it settle. TargetError without the target; what else goes wrong is the outcome.

    What no rule of gasrig.checkers foresaw, an exception, breaks the rule named after it: ``crash: ValueError``.
    """
    steps = list(story)
    at = 0
    rule: str | None = None
    text = ""
    sessions = count = 0
    try:
        with Player(steps[0], target) as player:
            try:
                while (at := at + 1) < len(steps):
                    player.step(steps[at])
                if settle:
                    player.settle()
            finally:
                sessions, count = player.street.sessions, player.steps
    except Violation as broken:
        rule, text = broken.rule, broken.text
    except TargetError as fault:
        if not isinstance(fault, BenchError):
            raise
        rule, text = f"crash: {fault.text.partition(':')[0]}", fault.text
    except Exception as fault:
        rule, text = f"crash: {type(fault).__name__}", str(fault)
    return Outcome(steps, rule, text, at, sessions, count)


def draw(seed: int, steps: int = STEPS) -> Story:
    """The story of a seed: so many steps, the town's and the settling not counted. The same on every target."""
    chance = random.Random(seed)
    customers = chance.choice((1, 2, 2, 3))
    alarm = chance.choice((0, 1, 5, 20))
    ceiling = chance.choice((0, 0, 0, 150, 1000))
    overdraft = chance.choice((0, 0, 10))
    story: Story = [("town", seed, customers, seed & 1, alarm, ceiling, overdraft)]
    for u in range(customers):
        if chance.random() < 0.3:
            story.append(("open", u, 200, chance.randrange(80), chance.randrange(1, len(STOPS))))
        story.append(("open", u, chance.choice((0, 30, 200)), 0, 0))
        if chance.random() < 0.3:
            story.append(("cut visit", u, chance.randrange(8), chance.randrange(500)))
        story.append(("visit", u))
    kinds, weights = zip(*_CHANCES, strict=True)
    while len(story) <= steps:
        kind: Callable[[random.Random, int, int], list[Step]] = chance.choices(kinds, weights)[0]
        story += kind(chance, chance.randrange(customers), customers)
    return story[: steps + 1]


def _pulses(chance: random.Random) -> int:
    return chance.choice((1, 7, 30, 64, 100, 250))


def _trip(chance: random.Random, u: int, _: int) -> list[Step]:
    again: list[Step] = [("visit", u)] if chance.random() < 0.5 else []
    return [("sell", u, _pulses(chance), 0, 0), ("visit", u), ("burn", u, _pulses(chance)), *again]


def _stopped_trip(chance: random.Random, u: int, _: int) -> list[Step]:
    how = chance.randrange(1, len(STOPS))
    steps: list[Step] = [("sell", u, _pulses(chance), chance.randrange(66), how)]
    if chance.random() < 0.5:
        steps.append(("visit", u))
    return [*steps, ("sell", u, _pulses(chance), 0, 0), ("visit", u)]


def _pulled_trip(chance: random.Random, u: int, _: int) -> list[Step]:
    # Before the password, in it, in the report: the first operations are the ones that differ.
    operation = chance.randrange(10) if chance.random() < 0.6 else chance.randrange(90)
    return [("sell", u, _pulses(chance), 0, 0), ("pull", u, operation, chance.randrange(2)), ("visit", u)]


def _cut_trip(chance: random.Random, u: int, _: int) -> list[Step]:
    write = chance.randrange(12) if chance.random() < 0.7 else chance.randrange(90)
    return [("sell", u, _pulses(chance), 0, 0), ("cut visit", u, write, chance.randrange(500)), ("visit", u)]


def _cloned_trip(chance: random.Random, u: int, customers: int) -> list[Step]:
    # The stranger is first.
    v = chance.randrange(customers)
    return [("sell", u, _pulses(chance), 0, 0), ("show", u, u, 0, 1), ("show", v, u, 0, 1), ("visit", u)]


def _rest(chance: random.Random, u: int, _: int) -> list[Step]:
    # Tokens that cuts have spent come back.
    return [("wait", u, chance.choice((31, 120, 240))), ("own", u), ("visit", u)]


def _cut_gas(chance: random.Random, u: int, _: int) -> list[Step]:
    torn = ("cut burn", u, chance.choice((1, 1, 5, 70)), chance.randrange(6), chance.randrange(500))
    steps: list[Step] = [("key", u), torn]
    if chance.random() < 0.5:
        steps.append(("cut boot", u, chance.randrange(6), chance.randrange(500)))
    return [*steps, ("key", u), ("burn", u, _pulses(chance))]


def _quiet(chance: random.Random, u: int, _: int) -> list[Step]:
    clock = START + chance.choice((0, 1, -100_000, 100_000, 525_600)) if chance.random() < 0.8 else 0
    return [
        chance.choice(
            (
                ("key", u),
                ("wait", u, chance.choice((1, 31, 240))),
                ("cut", u, chance.randrange(2)),
                ("battery", u, clock),
                ("clock", u, clock),
                ("read", u),
            )
        )
    ]


def _low_gas(chance: random.Random, u: int, _: int) -> list[Step]:
    steps: list[Step] = [("low", u, chance.choice((0, 1, 5, 21))), ("low", u, 0)]
    return [*steps, ("key", u), ("low", u, 0)] if chance.random() < 0.7 else steps


def _adversary(chance: random.Random, u: int, customers: int) -> list[Step]:
    place, v = chance.randrange(1000), chance.randrange(customers)
    shows: tuple[list[Step], ...] = (
        [("show", u, u, place, 0)],
        [("show", u, u, place, 1)],
        [("show", u, v, place, chance.randrange(2))],
        [("window", u, place, chance.choice((0, 10)), chance.randrange(2))],
        [("window", u, place, 10, 0)],
        [("forge", u, place, chance.randrange(70), chance.randrange(1, 256))],
        # More gas, or a later sequence, in the newest order.
        [("forge", u, 0, chance.randrange(HEAD + 15, HEAD + 24), chance.choice((1, 2, 128)))],
        [("roll", u, place), ("visit", u), ("sell", u, 10, 0, 0), ("own", u)],
        [("roll", u, place), ("cut visit", u, chance.randrange(20), chance.randrange(500)), ("own", u)],
        [("swap", u, chance.randrange(20), v), ("visit", u)],
        [("visit", u)],
    )
    return chance.choice(shows)


def _given_trip(chance: random.Random, u: int, _: int) -> list[Step]:
    how = chance.randrange(1, len(STOPS)) if chance.random() < 0.4 else 0
    again: list[Step] = [("grant", u, _pulses(chance), 0, 0)] if how else []
    return [
        ("grant", u, _pulses(chance), chance.randrange(66), how),
        *again,
        ("visit", u),
        ("burn", u, _pulses(chance)),
    ]


def _refund_trip(chance: random.Random, u: int, _: int) -> list[Step]:
    # What was sold may still be on the card; what was taken off may be burned, lost, cancelled or paid.
    how = chance.randrange(1, len(STOPS)) if chance.random() < 0.4 else 0
    first: list[Step] = [("sell", u, _pulses(chance), 0, 0)] if chance.random() < 0.5 else [("read", u)]
    between: list[Step] = chance.choice(
        (
            [("visit", u)],
            [("burn", u, _pulses(chance)), ("visit", u)],
            [("cut visit", u, chance.randrange(12), chance.randrange(500)), ("visit", u)],
            [("show", u, u, chance.randrange(4), 0), ("visit", u)],
            [("pay", u), ("sell", u, 1, 0, 0)],
            [("replace", u), ("visit", u)],
            [],
        )
    )
    last: list[Step] = [("cancel", u), ("visit", u)] if chance.random() < 0.4 else [("pay", u)]
    refund = "refund", u, chance.choice((1, 7, 30)), chance.randrange(66)
    return [*first, (*refund, how), (*refund[:3], 0, 0), *between, *last]


def _moving(chance: random.Random, u: int, _: int) -> list[Step]:
    how = chance.randrange(1, len(STOPS)) if chance.random() < 0.5 else 0
    before: list[Step] = chance.choice(([], [("sell", u, _pulses(chance), 0, 0)], [("read", u)], [("low", u, 0)]))
    between: list[Step] = chance.choice(
        (
            [("visit", u)],
            [("sell", u, 7, 0, 0), ("visit", u)],
            [("replace", u)],
            [("burn", u, _pulses(chance))],
            [("cut", u, chance.randrange(2))],
            [("show", u, u, chance.randrange(4), 0)],
            [],
        )
    )
    again: list[Step] = [("exchange", u, 0, 0)] if how else []
    return [
        *before,
        ("exchange", u, chance.randrange(180), how),
        *again,
        *between,
        ("carry", u, chance.randrange(2 * CARRIED), chance.randrange(2)),
        ("carry", u, CARRIED, 0),
        *between,
        ("through", u, chance.randrange(66), how),
        ("through", u, 0, 0),
        ("visit", u),
    ]


def _lost_ledger(chance: random.Random, u: int, customers: int) -> list[Step]:
    between: list[Step] = []
    for _ in range(chance.randrange(3)):
        kind: Callable[[random.Random, int, int], list[Step]] = chance.choice(
            (_trip, _given_trip, _refund_trip, _moving)
        )
        between += kind(chance, chance.randrange(customers), customers)
    told: list[Step] = []
    for v in range(customers):
        told += [("adopt", v), ("probe", v), ("visit", v), ("adopt", v)]
    return [("copy", u), *between, ("restore", u), *told]


def _loss(chance: random.Random, u: int, _: int) -> list[Step]:
    return [("replace", u), ("visit", u), ("show", u, u, chance.randrange(1000), 0)]


_CHANCES: tuple[tuple[Callable[[random.Random, int, int], list[Step]], int], ...] = (
    (_trip, 30),
    (_stopped_trip, 8),
    (_pulled_trip, 10),
    (_cut_trip, 10),
    (_cloned_trip, 3),
    (_cut_gas, 6),
    (_quiet, 12),
    (_low_gas, 4),
    (_adversary, 36),
    (_given_trip, 5),
    (_refund_trip, 6),
    (_loss, 2),
    (_moving, 4),
    (_lost_ledger, 1),
    (_rest, 5),
)


def written_out(story: Iterable[Step]) -> str:
    """A story as text, a step a line: what ``read_story`` reads."""
    return "".join(json.dumps(step) + "\n" for step in story)


def read_story(text: str) -> Story:
    """A story from text; empty lines and lines that begin with # are left out. ValueError if it is none."""
    story: Story = []
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        try:
            step = json.loads(line)
        except ValueError:
            step = None
        if not isinstance(step, list) or not step or any(type(value) is not int or value < 0 for value in step[1:]):
            raise ValueError(f"line {number} is no step")
        name, *values = step
        if not story:
            limits = zip(values, HEAD_MOST, strict=False)
            right = name == "town" and len(values) == len(HEAD_MOST) and all(value <= most for value, most in limits)
        else:
            right = isinstance(name, str) and SIZES.get(name) == len(step)
        if not right:
            raise ValueError(f"line {number}: there is no such step")
        story.append(tuple(step))
    if not story:
        raise ValueError("there is no step in it")
    return story


# The greatest values of a story's first step: seed, customers, memory, alarm, ceiling, overdraft.
HEAD_MOST = (10**18, 9, 1, 0xFFFF, 0xFFFFFF, 0xFFFF)
# How many values a step has, its name among them.
SIZES = {
    "open": 5,
    "sell": 5,
    "read": 2,
    "window": 5,
    "replace": 2,
    "grant": 5,
    "refund": 5,
    "pay": 2,
    "cancel": 2,
    "exchange": 4,
    "carry": 4,
    "through": 4,
    "copy": 2,
    "restore": 2,
    "adopt": 2,
    "probe": 2,
    "roll": 3,
    "own": 2,
    "forge": 5,
    "visit": 2,
    "pull": 4,
    "swap": 4,
    "show": 5,
    "cut visit": 4,
    "cut burn": 5,
    "cut boot": 4,
    "burn": 3,
    "low": 3,
    "key": 2,
    "wait": 3,
    "clock": 3,
    "cut": 3,
    "battery": 3,
}
# ---------------------------------------------------------------------- shrinking


def shrink(outcome: Outcome, again: Callable[[Story], Outcome], *, plays: int = SHRINK_PLAYS) -> Outcome:
    """The outcome of the shortest story found that breaks the same rule as ``outcome``'s; ``again`` plays a story.

    Steps are dropped in halves, quarters and so on down to one, then numbers are lowered, as long as there is
    something to drop or lower and ``plays`` stories have not been played.
    """
    left = plays
    best = outcome

    def better(story: Story) -> bool:
        nonlocal left, best
        if left <= 0:
            return False
        left -= 1
        found = again(story)
        if found.rule != outcome.rule:
            return False
        best = found
        return True

    if outcome.at + 1 < len(outcome.story):
        better(outcome.story[: outcome.at + 1])
    before: Story | None = None
    while before != best.story and left > 0:
        before = best.story
        _drop(lambda: best.story, better)
        _lower(lambda: best.story, better)
    return best


def _drop(current: Callable[[], Story], better: Callable[[Story], bool]) -> None:
    size = max(1, (len(current()) - 1) // 2)
    while True:
        at = len(current())
        while at > 1:
            # From the end: what comes late needs what came early, not the other way round. The first step is the town.
            start = max(1, at - size)
            better([*current()[:start], *current()[at:]])
            at = min(start, len(current()))
        if size == 1:
            return
        size //= 2


def _lower(current: Callable[[], Story], better: Callable[[Story], bool]) -> None:
    for at in range(len(current())):
        for place in range(1, len(current()[at])):
            value = current()[at][place]
            if not isinstance(value, int):
                continue
            floor = 0
            while floor < value:
                # Halving between what is too low and what is low enough.
                middle = (floor + value) // 2
                if better(_changed(current(), at, place, middle)):
                    value = middle
                else:
                    floor = middle + 1


def _changed(story: Story, at: int, place: int, value: int) -> Story:
    step = story[at]
    return [*story[:at], (*step[:place], value, *step[place + 1 :]), *story[at + 1 :]]


# ---------------------------------------------------------------------- many seeds


@dataclass
class Found:
    """What an exploration came to: ``sessions`` are cards that went into a meter or a window.

    ``violations``: of each the seed, rule, text, and the shrunk story. ``unplayed``: seeds there was no time for.
    """

    target: str
    seeds: int = 0
    sessions: int = 0
    steps: int = 0
    violations: list[dict[str, Any]] = field(default_factory=list)
    seconds: float = 0.0
    unplayed: int = 0

    def add(self, seed: int, outcome: Outcome, shrunk: Outcome) -> None:
        """One seed has been played."""
        self.seeds += 1
        self.sessions += outcome.sessions
        self.steps += outcome.steps
        if outcome.rule is not None:
            self.violations.append({"seed": seed, "rule": shrunk.rule, "text": shrunk.text, "story": shrunk.story})


def explore(
    seeds: Sequence[int],
    target: str = "cpython",
    *,
    steps: int = STEPS,
    minutes: float | None = None,
    jobs: int = 1,
    say: Callable[[dict[str, Any]], None] = lambda violation: None,
) -> Found:
    """Play the story of every seed, in ``jobs`` processes, until ``minutes`` are over; what breaks a rule is shrunk.

    ``say`` is told each violation as it is found. After MOST_VIOLATIONS no more seeds are begun. TargetError.
    """
    begun = time.monotonic()
    end = None if minutes is None else begun + 60 * minutes
    found = Found(target)
    for seed, outcome, shrunk in _in_order(seeds, target, steps, end, jobs, found):
        found.add(seed, outcome, shrunk)
        if outcome.rule is not None:
            say(found.violations[-1])
    found.seconds = time.monotonic() - begun
    found.unplayed = len(seeds) - found.seeds
    return found


_Played: TypeAlias = tuple[int, Outcome, Outcome]


def _in_order(
    seeds: Sequence[int], target: str, steps: int, end: float | None, jobs: int, found: Found
) -> Iterator[_Played]:
    def go_on() -> bool:
        late = end is not None and time.monotonic() >= end
        return not late and len(found.violations) < MOST_VIOLATIONS

    if jobs == 1:
        for seed in seeds:
            if not go_on():
                return
            yield _played(seed, target, steps)
        return
    with ProcessPoolExecutor(jobs, mp_context=multiprocessing.get_context("spawn")) as pool:
        # A short queue: what is in it is played to its end, whatever the time.
        waiting: deque[Future[_Played]] = deque()
        for seed in seeds:
            if not go_on():
                break
            waiting.append(pool.submit(_played, seed, target, steps))
            if len(waiting) > 2 * jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def _played(seed: int, target: str, steps: int) -> _Played:
    outcome = play(draw(seed, steps), target)
    if outcome.rule is None:
        return seed, outcome._replace(story=[]), outcome
    # What was broken by a step need not be settled again and again.
    at_rest = outcome.at == len(outcome.story)
    return seed, outcome, shrink(outcome, lambda story: play(story, target, settle=at_rest))


# ---------------------------------------------------------------------- the command


def command(argv: Sequence[str]) -> int:
    """``icgas explore``. The exit code is 0 if no rule was broken, 3 if one was, 2 for what cannot be run as asked.

    1 if the target gave up on the way.
    """
    options = _options(argv)
    if reason := unavailable(options.target):
        return _refused(2, f"{options.target}: {reason}")
    story: Story | None = None
    if options.story is not None:
        try:
            text = sys.stdin.read() if options.story == "-" else Path(options.story).read_text(encoding="utf-8")
            story = read_story(text)
        except (OSError, ValueError) as error:
            return _refused(2, f"{options.story}: {error}")

    def say(violation: dict[str, Any]) -> None:
        print(_told(violation, options), file=sys.stderr)

    try:
        if story is not None:
            found = _play_one(story, options.target, say)
        else:
            found = explore(
                options.seeds,
                options.target,
                steps=options.steps,
                minutes=options.minutes,
                jobs=options.jobs,
                say=say,
            )
    except TargetError as error:
        return _refused(1, str(error))
    if options.json:
        print(json.dumps(asdict(found)))
    else:
        print(_summary(found, story is not None))
    return VIOLATION if found.violations else 0


def _refused(code: int, reason: str) -> int:
    print(f"icgas explore: {reason}", file=sys.stderr)
    return code


def _play_one(story: Story, target: str, say: Callable[[dict[str, Any]], None]) -> Found:
    begun = time.monotonic()
    found = Found(target)
    outcome = play(story, target)
    found.add(story[0][1], outcome, outcome)
    for violation in found.violations:
        say(violation)
    found.seconds = time.monotonic() - begun
    return found


def _told(violation: dict[str, Any], options: argparse.Namespace) -> str:
    target = "" if options.target == "cpython" else f" --target {options.target}"
    lines = [f"{violation['rule']}: {violation['text']}"]
    if options.story is None:
        length = "" if options.steps == STEPS else f" --steps {options.steps}"
        lines.append(f"again, whole: icgas explore --seeds {violation['seed']}..{violation['seed']}{length}{target}")
        lines.append(f"again, shrunk: icgas explore --story FILE{target}, with these lines in the file:")
        lines.append(written_out(violation["story"]))
    return "\n".join(lines)


def _summary(found: Found, one: bool) -> str:
    rate = found.sessions / found.seconds if found.seconds else 0.0
    what = "one story" if one else f"{found.seeds} seeds"
    lines = [
        f"target {found.target}: {what}, {found.sessions} card sessions, {found.steps} steps in {found.seconds:.1f} s"
        f" ({rate:.0f} sessions/s)"
    ]
    if found.unplayed and not one:
        lines.append(f"{found.unplayed} seeds were not played: the time was over, or enough had been found")
    broken = len(found.violations)
    lines.append("no violation" if not broken else f"{broken} violations" if broken > 1 else "1 violation")
    return "\n".join(lines)


def _options(argv: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="icgas explore",
        description="Play stories drawn by chance against the whole system, and shrink what breaks a rule.",
    )
    what = parser.add_mutually_exclusive_group()
    what.add_argument(
        "--seeds", type=_seeds, default=_seeds(SEEDS), metavar="A..B", help=f"whose stories (default {SEEDS})"
    )
    what.add_argument("--story", metavar="FILE", help="play this story, a step a line; - reads it from a pipe")
    parser.add_argument("--minutes", type=_minutes, metavar="M", help="begin no seed after so long")
    parser.add_argument("--steps", type=_count, default=STEPS, metavar="N", help=f"of a story (default {STEPS})")
    parser.add_argument("--jobs", type=_count, default=1, metavar="N", help="processes (default 1)")
    parser.add_argument("--target", choices=TARGETS, default="cpython", help="where the firmware runs")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the summary")
    return parser.parse_args(argv)


def _seeds(text: str) -> range:
    first, dots, last = text.partition("..")
    if not first.isdecimal() or (dots and not last.isdecimal()) or (dots and int(last) < int(first)):
        raise argparse.ArgumentTypeError(f"two whole numbers like 1..1000, not {text!r}")
    return range(int(first), int(last if dots else first) + 1)


def _count(text: str) -> int:
    if not text.isdecimal() or not int(text):
        raise argparse.ArgumentTypeError(f"a whole number from 1 on, not {text!r}")
    return int(text)


def _minutes(text: str) -> float:
    try:
        minutes = float(text)
    except ValueError:
        minutes = 0.0
    if not 0 < minutes < float("inf"):
        raise argparse.ArgumentTypeError(f"a number above 0, not {text!r}")
    return minutes


if __name__ == "__main__":
    sys.exit(command(sys.argv[1:]))
