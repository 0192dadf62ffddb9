"""An attacker at the meter, in virtual time: how many tries he gets, and what his visits cost the customer.

Each strategy is a function that plays a ``Siege`` (a bound meter, its customer's good card, forged cards
without end) against the real firmware on any target until its time is over; the table ``STRATEGIES`` says what
each is about. What is counted is seen from outside: a MAC was judged if the meter's answer lies at or behind
MAC in the order of judging, or, where the power goes before there is an answer, if the memory had taken the
token and was asked for the next thing. The bucket's own numbers are asked only for what was burned.

The promise (RULES 3) stands here in figures of its own, so that it cannot move with the firmware: eight tokens,
one back in half an hour of powered time, 8 + 2 an hour: 17 528 in a first year. Only powered time is counted;
the time a meter lies without power gives nobody anything.

``CARD_ATTACKS`` are about the other lock, the three tries of an SLE4442 (DOMAIN 4), played on its model.

    python -m gasrig.attacks [--days N] [--target T] [--json]
"""

import argparse
import contextlib
import copy
import json
import random
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeAlias

from gascard import codes
from gascard.chip import Chip
from gascard.crc import crc16
from gascard.frames import HEAD
from gascard.meanings import JUDGING_ORDER
from gascard.records import IDENTITY_AT, ORDER, ORDER_AT, TIME_MAX, size_of
from gascard.sle4442 import (
    COMPARE,
    READ_SECURITY,
    TRIES_FULL,
    UPDATE_MAIN,
    UPDATE_SECURITY,
    WRITE_PROTECTION,
    tries_left,
)
from gashall.encode import IDENTITY_SIZE
from gashall.errors import CardError, ReaderError
from gashall.readers.chip import ChipReader, Plan
from gashall.signer import KeyFileSigner
from gasrig import bench
from gasrig.flows import KEY_VERSION, METER, ORDER_DEFAULTS, OTHER_METER, ROOT, new_card, write_order
from gasrig.handset import MeterUnderTest
from gasrig.parts import Fram
from gasrig.targets import TARGETS, CPythonTarget, Target, TargetError, open_target, unavailable
from meter.layouts import LOCKOUT_AT, LOCKOUT_PLACES, LOCKOUT_STRIDE

__all__ = [
    "CARD_ATTACKS",
    "DAYS",
    "STRANGERS",
    "STRATEGIES",
    "TOKENS",
    "PowerCut",
    "Row",
    "Siege",
    "StoppingFram",
    "Strategy",
    "attack_card",
    "besiege",
    "figures",
    "kept",
    "most_guesses",
    "promised",
    "was_judged",
]

DAYS = 365
DAYS_VM = 7
DAYS_MOST = 3650
BROKEN = 3  # exit code: a promise was not kept
WIDTH = 132  # of the table where no terminal says
DAY_MS = 86_400_000
MINUTE_MS = 60_000
SECOND_MS = 1000

# RULES 3, not read from the firmware.
TOKENS = 8
REFILL_MS = 30 * MINUTE_MS

MACS = 2**64
PASSWORDS = 2**24

GAS = 3000  # pulses the customer has bought
LOOT = 90_000  # pulses the forged orders claim
SEED = 1

_MAC_AT = ORDER_AT + HEAD + size_of(ORDER)
_CRC_AT = _MAC_AT + 8
_BEHIND_THE_MAC = frozenset(
    (
        codes.OK,
        codes.REPEAT,
        *JUDGING_ORDER[JUDGING_ORDER.index(codes.MAC) + 1 :],
        # About the chip and not the order; the meter gets so far with a genuine order only (decision 31).
        codes.CARD_BARRED,
        codes.PASSWORD_REFUSED,
        codes.REPORT_NOT_WRITTEN,
        codes.CARD_OUT,
    )
)


def was_judged(code: int) -> bool:
    """Whether a meter that answers ``code`` (gascard.codes) has compared a MAC to come to it."""
    return code == codes.MAC or code in _BEHIND_THE_MAC


def promised(powered_ms: int) -> int:
    """The most MACs a meter may judge in ``powered_ms`` of powered time that begin with a full bucket (RULES 3)."""
    return TOKENS + powered_ms // REFILL_MS


@dataclass(frozen=True, slots=True)
class Row:
    """What one attack came to. None where a figure has no meaning for it."""

    attack: str
    lock: str
    """``meter``: the token bucket; ``card``: the chip's three tries."""
    target: str
    days: float
    """Powered time of the meter."""
    judged: int
    """Forged MACs, or wrong passwords, that were compared with the right one."""
    bound: int
    """The most that was promised."""
    succeeded: int
    odds: float
    """That one of the tries would have hit: ``judged`` of 2⁶⁴, or of 2²⁴ on a card."""
    tokens_burned: int | None
    served: int | None
    """Visits of the customer's good card that were answered OK or REPEAT."""
    longest_wait_minutes: int | None
    """Powered time of the customer before a locked meter, a try a minute, while the attacker did as the attack says."""
    wait_after_minutes: int | None
    """The same once the attacker has gone: half an hour at most."""
    harmed: int | None
    """Cards that came out of a refusal other than they went in, or dead."""
    most_cell_writes: int | None
    """The most worn cell of the meter's memory."""


# ---------------------------------------------------------------------- the meter under siege


class PowerCut(BaseException):
    """The supply is gone in the middle of a write. Not an Exception: the firmware must not catch it."""


class StoppingFram(Fram):
    """An FRAM that holds ``cells`` and takes ``left`` more bytes, then stops for ever: PowerCut. -1: goes on.

    With ``deaf`` it stops at the first read once ``left`` is 0: behind the write, before it is read back.
    ``stopped_at`` is the address of what it did not finish.
    """

    def __init__(self, cells: bytes | bytearray) -> None:
        super().__init__(len(cells))
        self.cells[:] = cells
        self.left = -1
        self.deaf = False
        self.stopped_at = -1

    def _stop(self, address: int) -> None:
        self.left = -1
        self.deaf = False
        self.stopped_at = address
        raise PowerCut

    def read_into(self, address: int, buffer: bytearray) -> None:
        """As Fram. PowerCut."""
        if self.deaf and self.left == 0:
            self._stop(address)
        super().read_into(address, buffer)

    def write(self, address: int, data: bytes | bytearray) -> None:
        """As Fram. PowerCut."""
        if 0 <= self.left < len(data):
            super().write(address, data[: self.left])
            self._stop(address)
        super().write(address, data)
        if self.left >= 0:
            self.left -= len(data)


class Siege:
    """A meter that has loaded its opening card, the customer with that card, and an attacker with a forger's kit.

    ``judged``, ``succeeded``, ``served``, ``harmed``, ``tokens_burned`` and the waits are as in ``Row``;
    ``powered_ms`` is how much powered time has passed since the opening card came out.
    """

    def __init__(self, target: Target, days: float, seed: int = SEED, **config: Any) -> None:
        """``days`` of powered time to play; ``config`` goes to the meter's manufacture (bench.CONFIG)."""
        self.target = target
        self.end_ms = round(days * DAY_MS)
        self.powered_ms = 0
        self.judged = 0
        self.succeeded = 0
        self.served = 0
        self.harmed = 0
        self.tokens_burned = 0
        self.refusals: dict[int, int] = {}
        """How often each code was answered, to whomever."""
        self._refused_at: int | None = None
        self._longest_wait_ms = 0
        self._chance = random.Random(seed)
        self._tokens = TOKENS
        self.meter = MeterUnderTest(target)
        key, tool_key = KeyFileSigner(ROOT, bench.TEST_REGION).meter_keys(METER, KEY_VERSION)
        # The shortest tally: a boot has nothing to read, and no pulse is counted here.
        made: dict[str, Any] = {"meter": METER, "key": key, "tool_key": tool_key, "lane_length": 64}
        self.minutes: int = ORDER_DEFAULTS["time"]
        self.meter.build(**{**made, "minutes": self.minutes, **config})
        self.good = new_card()
        write_order(self.good, "opening", self.order())
        code = self.meter.insert(self.good)
        self.good = self.meter.remove()
        if code != codes.OK:
            raise TargetError(f"the meter does not take its opening card: {code}")
        self._bait = self.card(sequence=2, bought_total=LOOT, amount=LOOT - GAS).dump()

    @staticmethod
    def order(**changed: Any) -> dict[str, Any]:
        """The fields of the customer's order (ORDER, and the pranks of gasrig.flows), some of them changed."""
        return {**ORDER_DEFAULTS, "bought_total": GAS, "amount": GAS, "replacement": 1, **changed}

    def card(self, number: int | None = None, kind: str = "user", **changed: Any) -> Chip:
        """A genuine card of the customer, or of card number ``number``, whose order has ``changed`` fields."""
        chip = new_card() if number is None else new_card(number)
        write_order(chip, kind, self.order(**changed))
        return chip

    @property
    def over(self) -> bool:
        """Whether the time is up."""
        return self.powered_ms >= self.end_ms

    @property
    def longest_wait_ms(self) -> int:
        """The longest the customer has waited, the present waiting included."""
        now = 0 if self._refused_at is None else self.powered_ms - self._refused_at
        return max(self._longest_wait_ms, now)

    # --- what happens at the meter

    def visit(self, chip: Chip) -> int:
        """Any card goes in and comes out again, as the meter left it; the meter's code."""
        before = chip.dump()
        code = self.meter.insert(chip)
        self.powered_ms += self.meter.last["elapsed_ms"]
        # The gas the opening card brought is all there ever was.
        self.succeeded += self.meter.last["bought_total"] > GAS
        self._look()
        chip.restore(self.meter.remove().dump())
        self.refusals[code] = self.refusals.get(code, 0) + 1
        touched = code in (codes.OK, codes.REPEAT, codes.PASSWORD_REFUSED)
        self.harmed += chip.dead or (not touched and chip.dump() != before)
        return code

    def forged(self) -> Chip:
        """A new card as good as a forger can make it: everything right that can be read, and a MAC by chance."""
        chip = Chip()
        chip.restore(self._bait)
        chip.main[_MAC_AT:_CRC_AT] = self._chance.randbytes(8)
        chip.main[_CRC_AT : _CRC_AT + 2] = crc16(chip.main, ORDER_AT + 1, _CRC_AT).to_bytes(2, "big")
        return chip

    def forge(self) -> bool:
        """One try; whether the meter judged it."""
        code = self.visit(self.forged())
        judged = was_judged(code)
        self.succeeded += judged and code != codes.MAC
        self.count(judged)
        return judged

    def count(self, judged: bool) -> None:
        """Count a try. TargetError if the meter judges without end: a siege of a broken meter must come to its own."""
        self.judged += judged
        if self.judged > promised(self.powered_ms) + TOKENS:
            raise TargetError(f"{self.judged} tries in {self.powered_ms} ms of powered time: no lockout")

    def forge_all(self) -> int:
        """Try for as long as the meter judges; how many tries that was."""
        tries = 0
        while self.forge():
            tries += 1
        return tries

    def customer(self) -> bool:
        """The customer's card; whether it was served. From a refusal on the customer is waiting."""
        came_ms = self.powered_ms
        served = self.visit(self.good) in (codes.OK, codes.REPEAT)
        if served:
            self.served += 1
            if self._refused_at is not None:
                self._longest_wait_ms = max(self._longest_wait_ms, came_ms - self._refused_at)
            self._refused_at = None
        elif self._refused_at is None:
            self._refused_at = came_ms
        return served

    def customer_waits(self) -> int:
        """The customer tries each minute until the card is served; milliseconds of powered time until that visit."""
        began_ms = self.powered_ms
        while True:
            came_ms = self.powered_ms
            if self.customer():
                return came_ms - began_ms
            if came_ms - began_ms > DAY_MS:
                raise TargetError("the customer has stood there for a day")
            self.wait(MINUTE_MS)

    def wait(self, milliseconds: int) -> None:
        """Powered time passes."""
        self.meter.wait(milliseconds)
        self.powered_ms += milliseconds
        self._look()

    def cycle(self, *, warned: bool) -> None:
        """The power goes and comes back at once."""
        self.meter.power_off(warned=warned)
        self.meter.power_on()
        self._look()

    def set_clock(self, minutes: int) -> None:
        """The clock is set, to minutes since 2000-01-01 UTC, while the meter runs."""
        self.meter.clock(minutes)

    def _look(self) -> None:
        tokens = self.meter.last["tokens"]
        self.tokens_burned += max(0, self._tokens - tokens)
        self._tokens = tokens


# ---------------------------------------------------------------------- strategies


def _steady(siege: Siege) -> None:
    # One try a half hour. What tokens there were beyond would gather, and are looked for every day.
    while True:
        siege.forge_all()
        for _ in range(DAY_MS // REFILL_MS):
            if siege.over:
                siege.forge_all()
                return
            siege.wait(REFILL_MS)
            siege.forge()


def _knocking(siege: Siege) -> None:
    # He does not read the display: a card every two minutes, most of them before a locked meter.
    while not siege.over:
        siege.forge()
        siege.wait(2 * MINUTE_MS)


def _cycling(warned: bool) -> Callable[[Siege], None]:
    def play(siege: Siege) -> None:
        while True:
            siege.cycle(warned=warned)
            if siege.forge():
                continue
            if siege.over:
                return
            siege.wait(REFILL_MS)

    return play


def _before_the_refill(siege: Siege) -> None:
    while not siege.over:
        booted_ms = siege.powered_ms
        siege.forge()
        siege.wait(booted_ms + REFILL_MS - SECOND_MS - siege.powered_ms)
        siege.cycle(warned=False)


def _clock(siege: Siege) -> None:
    # A year ahead, back, to the ends of what the field holds and beyond, between all tries and waits.
    settings = (siege.minutes + 525_600, siege.minutes - 525_600, 0, TIME_MAX, TIME_MAX + 1, 0xFFFFFFFF, siege.minutes)
    turn = 0
    while True:
        while True:
            siege.set_clock(settings[turn % len(settings)])
            turn += 1
            if not siege.forge():
                break
        if siege.over:
            return
        # And in the middle of the wait: half before, half after.
        siege.wait(REFILL_MS // 2)
        siege.set_clock(settings[turn % len(settings)])
        siege.wait(REFILL_MS - REFILL_MS // 2)


def _alternating(siege: Siege) -> None:
    while not siege.over:
        siege.forge_all()
        siege.customer_waits()
        # The token that let the customer in is still there, and the forger takes it; the customer is next again.
        for _ in range(3):
            siege.customer()
        siege.forge()
        siege.customer_waits()


def _first_at_the_slot(siege: Siege) -> None:
    # Whoever stands at the slot in the minute a token returns has it; the customer comes a minute later.
    siege.forge_all()
    while not siege.over:
        siege.customer()
        siege.wait(REFILL_MS - MINUTE_MS)
        siege.customer()
        siege.wait(MINUTE_MS)
        siege.forge_all()


def _good_cards(siege: Siege) -> None:
    while not siege.over:
        siege.customer()
        siege.wait(5 * MINUTE_MS)


def _good_cards_cut(siege: Siege) -> None:
    # Decision 62: each visit's token is given back in memory only, and a cut forgets that.
    while not siege.over:
        siege.customer_waits()
        siege.cycle(warned=False)


# Cards that are none of the attacker's forging: how each is made, and what the meter must say to it.
_Maker: TypeAlias = Callable[[Siege], Chip]


def _spoilt(place: int) -> _Maker:
    def make(siege: Siege) -> Chip:
        chip = siege.card(sequence=2)
        chip.main[place] ^= 0x10
        return chip

    return make


def _elsewhere(siege: Siege) -> Chip:
    # The identity of another region, whole: its checksum is right.
    chip = siege.card(sequence=2)
    chip.main[IDENTITY_AT + 2 : IDENTITY_AT + 4] = b"\x00\x01"
    end = IDENTITY_AT + IDENTITY_SIZE - 2
    chip.main[end : end + 2] = crc16(chip.main, IDENTITY_AT, end).to_bytes(2, "big")
    return chip


def _changed(**changed: Any) -> _Maker:
    return lambda siege: siege.card(**changed)


STRANGERS: dict[str, tuple[_Maker, int]] = {
    "the neighbour's card": (_changed(number=78, meter=OTHER_METER, sequence=9), codes.METER),
    "a neighbour's opening card": (_changed(number=78, kind="opening", meter=OTHER_METER), codes.METER),
    "a neighbour's card, forged": (_changed(meter=OTHER_METER, wrong_mac=1), codes.METER),
    "a card of another region": (_elsewhere, codes.REGION),
    "a blank card": (lambda _: Chip(), codes.NOT_OURS),
    "a card with a damaged identity": (_spoilt(IDENTITY_AT + 6), codes.CRC),
    "a card with a damaged order": (_spoilt(_MAC_AT), codes.CRC),
    "a card of an earlier life of the meter": (_changed(binding=3, sequence=2), codes.BINDING),
    "an opening card of the next binding": (_changed(kind="opening", binding=2), codes.ALREADY_BOUND),
    "the card that was replaced": (_changed(replacement=0, sequence=2), codes.REPLACED),
    "a card of another pulse weight": (_changed(pulse_weight=1, sequence=2), codes.WEIGHT),
    "a card from after a key change": (_changed(key_version=2, sequence=2), codes.KEY_VERSION),
    # From here on the MAC is judged, and right: the token comes back.
    "the customer's own order again": (_changed(kind="opening"), codes.REPEAT),
    "another order of the same number": (_changed(amount=1), codes.SEQUENCE_CONFLICT),
}


def _strangers(siege: Siege) -> None:
    # All of them through the slot every hour, and the customer behind them.
    makers = [make for make, _ in STRANGERS.values()]
    chips = [make(siege) for make in makers]
    while not siege.over:
        for chip in chips:
            siege.visit(chip)
            siege.customer()
        siege.wait(60 * MINUTE_MS)


def _copies(siege: Siege) -> None:
    # Two copies of genuine cards on chips with passwords of their own, in turn, and the customer in between. The
    # orders are newer than the customer's and bring nothing: what they would bring is the customer's anyway.
    copies = [siege.card(number, sequence=2 + i) for i, number in enumerate((None, 78))]
    fresh = [chip.dump() for chip in copies]
    while not siege.over:
        for chip, dump in zip(copies, fresh, strict=True):
            chip.restore(dump)
            chip.security[1:4] = b"\x00\x01\x02"
        for _ in range(2):
            for chip in copies:
                siege.visit(chip)
                siege.customer()
        siege.wait(60 * MINUTE_MS)


# Where the supply goes: after how many bytes, and whether only the next read finds it gone. An entry of the ring is 6
# bytes: the first six cuts tear it, the seventh comes behind it, the last ones when the verdict is noted in the log.
_CUTS = ((0, False), (1, False), (2, False), (3, False), (4, False), (5, False), (6, True), (6, False), (9, False))
_RING = range(LOCKOUT_AT, LOCKOUT_AT + LOCKOUT_PLACES * LOCKOUT_STRIDE)


def _cut_at_the_token(siege: Siege) -> None:
    # Over a memory that stops, which can be had in this process only.
    if not isinstance(siege.target, CPythonTarget):
        raise TargetError("a memory that stops is in this process only: target cpython")
    rig = siege.target.bench
    memory = rig.memory = StoppingFram(rig.memory.cells)
    siege.cycle(warned=False)
    turn = 0
    while True:
        turn += 1
        if turn % 5 == 0:
            siege.visit(siege.good)  # behind a good card, borrowed, the next token is taken without a write
        memory.left, memory.deaf = _CUTS[turn % len(_CUTS)]
        bus_ms = rig.slot.busy_ms
        with contextlib.suppress(PowerCut):
            siege.meter.insert(siege.forged())
        memory.left, memory.deaf = -1, False  # a card that was refused without a write has stopped nothing
        # Judged, as far as an oscilloscope can tell: the card was read, and what stopped was not the ring any more.
        read = rig.slot.busy_ms > bus_ms
        siege.count(read and memory.stopped_at not in _RING)
        siege.cycle(warned=False)
        siege.meter.remove()
        siege.succeeded += siege.meter.last["bought_total"] > GAS
        if not read:
            if siege.over:
                return
            siege.wait(REFILL_MS)


@dataclass(frozen=True, slots=True)
class Strategy:
    """One way to besiege a meter. ``play`` goes on until the siege is over."""

    play: Callable[[Siege], None]
    what: str
    most_days: float = DAYS_MOST
    """Played no longer than this: nothing new happens, and each day takes many requests."""
    in_process: bool = False


STRATEGIES: dict[str, Strategy] = {
    "steady": Strategy(_steady, "a new forged MAC whenever the meter judges"),
    "knocking": Strategy(_knocking, "a forged card every two minutes", 30),
    "power cut between tries": Strategy(_cycling(False), "no warning, before each try"),
    "power off between tries": Strategy(_cycling(True), "with the warning, before each try"),
    "power cut at the token": Strategy(_cut_at_the_token, "between token and verdict, at each byte", in_process=True),
    "power cut before the refill": Strategy(_before_the_refill, "a second before a token is due"),
    "clock set": Strategy(_clock, "forward, back and beyond its field, between tries and waits"),
    "good and forged in turn": Strategy(_alternating, "the customer's card between forged ones", 60),
    "first at the slot": Strategy(_first_at_the_slot, "each token taken a minute before the customer comes", 60),
    "good card alone": Strategy(_good_cards, "every five minutes", 30),
    "good card, power cut after each": Strategy(_good_cards_cut, "known: follows from the rule", 10),
    "strangers' cards": Strategy(_strangers, "neighbours', foreign, damaged, older, repeated: all, every hour", 10),
    "copied chips": Strategy(_copies, "genuine orders on chips with other passwords, in turn", 10),
}


def besiege(target: Target, attack: str, days: float = DAYS, **config: Any) -> Row:
    """Play the strategy called ``attack`` on a new meter for ``days`` of powered time, then let the customer in.

    ``config`` goes to the meter's manufacture (bench.CONFIG). TargetError.
    """
    strategy = STRATEGIES[attack]
    siege = Siege(target, min(days, strategy.most_days), **config)
    strategy.play(siege)
    row = Row(
        attack=attack,
        lock="meter",
        target=target.name,
        days=siege.powered_ms / DAY_MS,
        judged=siege.judged,
        bound=promised(siege.powered_ms),
        succeeded=siege.succeeded,
        odds=siege.judged / MACS,
        tokens_burned=siege.tokens_burned,
        served=siege.served,
        longest_wait_minutes=siege.longest_wait_ms // MINUTE_MS,
        wait_after_minutes=None,
        harmed=siege.harmed,
        most_cell_writes=siege.meter.wear()["cell_most"],
    )
    after_ms = siege.customer_waits()
    return replace(row, wait_after_minutes=after_ms // MINUTE_MS, succeeded=siege.succeeded, harmed=siege.harmed)


# ---------------------------------------------------------------------- the card's own lock

_WRONG = b"\x00\x01\x02"
TRIES = 3


def _try_by_command(chip: Chip, psc: bytes) -> bool:
    # The fixed order of DOMAIN 4, as any reader sends it; whether the chip says at last that it was right.
    counter = chip.read(READ_SECURITY, 0)[0]
    chip.command(UPDATE_SECURITY, 0, counter & (counter - 1))
    for i in range(3):
        chip.command(COMPARE, i + 1, psc[i])
    chip.command(UPDATE_SECURITY, 0, 0xFF)
    return bool(chip.read(READ_SECURITY, 0)[0] == TRIES_FULL)


def _passwords() -> Iterator[bytes]:
    return (guess.to_bytes(3, "big") for guess in range(1, PASSWORDS - 1))


def _by_command(_: Target) -> tuple[int, int]:
    chip = new_card()
    judged = 0
    for psc in _passwords():
        if chip.dead:
            return judged, 0
        judged += 1
        if _try_by_command(chip, psc):
            return judged, 1
    return judged, 0


def _without_power(_: Target) -> tuple[int, int]:
    # The power goes when the bit is spent; then, from power-up, the compares as if it had not.
    chip = new_card()
    while not chip.dead:
        counter = chip.read(READ_SECURITY, 0)[0]
        chip.command(UPDATE_SECURITY, 0, counter & (counter - 1))
        chip.power_off()
        chip.power_on()
        for i in range(3):
            chip.command(COMPARE, i + 1, new_card().security[i + 1])
    # Even the right password was heard by nobody.
    return 0, int(chip.verified)


def _pulled(_: Target) -> tuple[int, int]:
    # Out of a reader, when the bit is spent and before the first compare.
    chip = new_card()
    reader = ChipReader(chip)

    def pull(plan: Plan) -> None:
        reader.store(plan)
        reader.pull()

    while not chip.dead:
        reader.insert(chip)
        reader.step = pull
        with contextlib.suppress(ReaderError), reader:
            reader.present(bytes(chip.security[1:4]), rescue=True)
    return 0, int(chip.verified)


def _every_order(_: Target) -> tuple[int, int]:
    return most_guesses(new_card()), 0


def _at_the_hall(_: Target) -> tuple[int, int]:
    chip = new_card()
    reader = ChipReader(chip)
    judged = 0
    try:
        for psc in _passwords():
            with reader:
                if reader.present(psc):
                    return judged + 1, 1
            judged += 1
    except CardError:  # LAST_TRY: that one is the clerk's to spend
        if chip.dead:
            raise
    return judged, 0


def _in_the_meter(target: Target) -> tuple[int, int]:
    # The attacker chooses no password here: the meter presents what a genuine order says. Two copies in turn, since
    # the meter bars one number.
    siege = Siege(target, 0)
    copies = [siege.card(number, sequence=2 + i) for i, number in enumerate((78, 79))]
    for chip in copies:
        chip.security[1:4] = _WRONG
    for _ in range(TRIES + 2):
        for chip in copies:
            siege.visit(chip)
    return max(TRIES - tries_left(chip.security[0]) for chip in copies), siege.succeeded


CARD_ATTACKS: dict[str, tuple[Callable[[Target], tuple[int, int]], int]] = {
    "wrong passwords by command": (_by_command, TRIES),
    "every order of commands": (_every_order, TRIES),
    "power cut before the compare": (_without_power, 0),
    "pulled before the compare": (_pulled, 0),
    "wrong passwords at the hall": (_at_the_hall, TRIES - 1),
    "copied chip in the meter": (_in_the_meter, TRIES - 1),
}
"""Each gives (passwords judged, of them right), and how many were promised at most."""


def most_guesses(chip: Chip) -> int:
    """The most wrong passwords that any sequence of commands gets judged by ``chip``, power cycles included.

    The attacker is given the first two bytes for nothing, so that he may go wrong where he likes. A byte is judged
    if the right one in its place would have led the chip elsewhere. All states are walked, so it holds for every
    length; RuntimeError if there is a way in.
    """
    psc = bytes(chip.security[1:4])
    wrong = bytes(byte ^ 0xFF for byte in psc)
    commands = [(UPDATE_SECURITY, 0, data) for data in (*range(TRIES_FULL + 1), 0xFF)]
    commands += [(UPDATE_SECURITY, 1, wrong[0]), (UPDATE_MAIN, 0x80, 0), (WRITE_PROTECTION, 8, 0)]
    commands += [(COMPARE, place, byte) for place in (0, 1, 2, 3, 4) for byte in (wrong * 2)[place - 1 :][:1]]
    commands += [(COMPARE, 1, psc[0]), (COMPARE, 2, psc[1])]
    begun = copy.deepcopy(chip)
    begun.power_on()
    seen = {(_state(begun), 0)}
    open_ends = [(begun, 0)]
    most = 0
    while open_ends:
        here, guesses = open_ends.pop()
        followers = [(_powered_again(here), guesses)]
        for control, place, data in commands:
            after = copy.deepcopy(here)
            after.command(control, place, data)
            judged = False
            if control == COMPARE and 1 <= place <= 3 and data != psc[place - 1]:
                twin = copy.deepcopy(here)
                twin.command(control, place, psc[place - 1])
                judged = _state(twin) != _state(after)
            followers.append((after, guesses + judged))
        for follower, count in followers:
            if follower.verified or count > 2 * TRIES:
                raise RuntimeError(f"a way past the tries: {count} guesses, {tries_left(follower.security[0])} left")
            if (_state(follower), count) not in seen:
                seen.add((_state(follower), count))
                open_ends.append((follower, count))
                most = max(most, count)
    return most


def _powered_again(chip: Chip) -> Chip:
    again = copy.deepcopy(chip)
    again.power_off()
    again.power_on()
    return again


def _state(chip: Chip) -> tuple[Any, ...]:
    # Whatever a chip is made of, without knowing what: two chips alike in it answer alike for ever.
    return tuple(bytes(value) if isinstance(value, bytearray) else value for value in vars(chip).values())


def attack_card(target: Target, attack: str) -> Row:
    """Play one of ``CARD_ATTACKS``; ``target`` is for the one that needs a meter."""
    play, bound = CARD_ATTACKS[attack]
    judged, succeeded = play(target)
    return Row(
        attack=attack,
        lock="card",
        target=target.name,
        days=0,
        judged=judged,
        bound=bound,
        succeeded=succeeded,
        odds=judged / PASSWORDS,
        tokens_burned=None,
        served=None,
        longest_wait_minutes=None,
        wait_after_minutes=None,
        harmed=None,
        most_cell_writes=None,
    )


# ---------------------------------------------------------------------- the figures


def figures(
    target: str = "cpython", days: float = DAYS, progress: Callable[[str], None] | None = None
) -> list[dict[str, Any]]:
    """Every attack on ``target``, each strategy for ``days`` of powered time or as long as it has news: a Row each.

    ``progress`` is told each attack's name before it is played. TargetError.
    """
    rows = []
    with open_target(target) as opened:
        for attack, strategy in STRATEGIES.items():
            if strategy.in_process and target != "cpython":
                continue
            if progress is not None:
                progress(attack)
            rows.append(asdict(besiege(opened, attack, days)))
        rows += [asdict(attack_card(opened, attack)) for attack in CARD_ATTACKS]
    return rows


def main(argv: Sequence[str] | None = None) -> int:
    """``python -m gasrig.attacks``. 0 if every promise was kept, 3 if not, 2 for a target that is not here, 1 else."""
    options = _options(argv)
    if reason := unavailable(options.target):
        return _refused(2, f"{options.target}: {reason}")
    days = options.days or (DAYS if options.target == "cpython" else DAYS_VM)
    try:
        rows = figures(options.target, days, lambda attack: print(f"{attack} ...", file=sys.stderr))
        if options.json:
            print(json.dumps(rows))
        else:
            _print_table(rows, options.target)
    except ImportError as error:
        return _refused(1, f"the table needs the package {error.name}: pip install 'icgas[rig]', or ask for --json")
    except TargetError as error:
        return _refused(1, str(error))
    return 0 if all(kept(row) for row in rows) else BROKEN


def kept(row: dict[str, Any]) -> bool:
    """Whether a row of ``figures`` is within what was promised."""
    waited: int | None = row["wait_after_minutes"]
    within: bool = row["judged"] <= row["bound"]
    harmless = not (row["succeeded"] or row["harmed"])
    return harmless and within and (waited is None or waited * MINUTE_MS <= REFILL_MS)


def _refused(code: int, reason: str) -> int:
    print(f"gasrig.attacks: {reason}", file=sys.stderr)
    return code


def _options(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m gasrig.attacks", description="Besiege a meter and its cards in virtual time, and count."
    )
    parser.add_argument("--target", choices=TARGETS, default="cpython", help="where the firmware runs")
    words = f"powered days a strategy is played (default {DAYS}, on a virtual machine {DAYS_VM})"
    parser.add_argument("--days", type=_days, metavar="N", help=words)
    parser.add_argument("--json", action="store_true", help="one JSON array of rows instead of the table")
    return parser.parse_args(argv)


def _days(text: str) -> int:
    days = int(text) if text.isdecimal() else 0
    if not 1 <= days <= DAYS_MOST:
        raise argparse.ArgumentTypeError(f"a whole number from 1 to {DAYS_MOST}, not {text!r}")
    return days


_COLUMNS = (
    ("days", "days"),
    ("tries", "judged"),
    ("promised", "bound"),
    ("hits", "succeeded"),
    ("odds", "odds"),
    ("tokens", "tokens_burned"),
    ("served", "served"),
    ("wait, min", "longest_wait_minutes"),
    ("after, min", "wait_after_minutes"),
    ("harmed", "harmed"),
    ("cell", "most_cell_writes"),
)


def _print_table(rows: Sequence[dict[str, Any]], target: str) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"attacks on lockout and card password, target {target}")
    table.add_column("attack")
    for words, _ in _COLUMNS:
        table.add_column(words, justify="right")
    for i, row in enumerate(rows):
        table.add_row(row["attack"], *(_figure(row[name]) for _, name in _COLUMNS))
        if i + 1 < len(rows) and rows[i + 1]["lock"] != row["lock"]:
            table.add_section()
    Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH).print(table)


def _figure(value: float | None) -> str:
    if value is None:
        return "-"
    if isinstance(value, int):
        return str(value)
    return f"{value:.1e}" if 0 < value < 1e-3 else f"{value:.4g}"


if __name__ == "__main__":
    raise SystemExit(main())
