"""What is stored in and around a meter at one moment, and when two such states are one.

Two notions of sameness. ``Sameness.state`` is what the figures count: states that differ only in pulse counts are
one, and everything else that is stored makes a difference. ``Sameness.behaviour`` is coarser, and only saves
work: what no decoder reads (a copy whose checksum is wrong, the log) is left out, so that of states which must
go on alike one is carried on to its end. Every state of the first kind is booted all the same.
"""

from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any, NamedTuple
from zlib import crc32

from gascard.chip import SECURITY
from gasrig.checkers import Store, read_store, x25
from gasrig.handset import Entry
from gasrig.recorder import CARD, KEYS, STORE

__all__ = ["Sameness", "Stored"]

_PAGE = 64
_TALLY = 0x1000
_BLANK = bytes(_PAGE)
_RECORDS_END = 0x400
_EVENTS, _EVENTS_END = 0x400, 0xF00
_REPORTS = ((0x5B, 0xA5), (0xA5, 0xEF))
_FINALS, _FINAL_SIZE = (0xF00, 0xF80), 69
_KIND_AT, _TRANSFER = 0x0C, 2  # of a card
_QUARTER = 250  # thousandths of a pulse: the reeds read alike within
_NEAR = 3  # pulses from a threshold within which counts make a difference
_FAR = (2 * _NEAR,) * 3  # from all thresholds


class Stored(NamedTuple):
    """All that outlives the power: memory, key memory, the card in hand (264 bytes), valve, wheels and clock.

    The first three by the numbers of their parts (gasrig.recorder).
    """

    cells: bytes
    keys: bytes
    card: bytes
    place: int  # of the valve, ms of travel from shut
    wheels: int  # what they read, in pulses
    wheels_milli: int  # thousandths of the next pulse
    minutes: int

    def at(self, entry: Entry) -> "Stored":
        """This state with the world as it was when ``entry`` was written down."""
        return Stored(self.cells, self.keys, self.card, entry.place, entry.wheels, entry.wheels_milli, self.minutes)

    def torn(self, kind: int, address: int, content: bytes) -> "Stored":
        """This state with ``content`` stored at ``address`` of the part ``kind`` (gasrig.recorder)."""
        cells, keys, card, *world = self
        if kind == STORE:
            cells = _put(cells, address, content)
        elif kind == KEYS:
            keys = _put(keys, address, content)
        elif kind == CARD:
            card = _put(card, card_place(address), content)
        else:
            return self
        return Stored(cells, keys, card, *world)

    def after(self, entries: Iterable[Entry]) -> "Stored":
        """This state after ``entries``. What none of them changes is the very same bytes."""
        parts: dict[int, bytearray] = {}
        have = self[:3]
        for entry in entries:
            kind, address, data = entry[0], entry[1], entry[2]
            if kind > CARD:
                continue
            part = parts.get(kind)
            if part is None:
                part = parts[kind] = bytearray(have[kind])
            at = card_place(address) if kind == CARD else address
            part[at : at + len(data)] = data
        if not parts:
            return self
        cells, keys, card = [bytes(parts[kind]) if kind in parts else have[kind] for kind in (STORE, KEYS, CARD)]
        return Stored(cells, keys, card, *self[3:])


def card_place(address: int) -> int:
    """Where in a card's 264 bytes lies what the chip calls ``address``, area * 256 + place."""
    area, place = divmod(address, 256)
    return place + (0, 256, 260)[area] if area <= SECURITY else place


def _put(memory: bytes, address: int, content: bytes) -> bytes:
    return memory[:address] + content + memory[address + len(content) :]


class Sameness:
    """When two states of one build of meter are the same. ``travel_ms`` is the valve's, from end to end."""

    def __init__(self, lanes: int, lane_length: int, travel_ms: int) -> None:
        self.lanes = lanes
        self.lane_length = lane_length
        self.travel_ms = travel_ms
        # Of one state its meaning is asked for several times in a row, and the next state differs from it in little:
        # more than is kept here would be asked for hardly more often.
        self._stores: dict[tuple[bytes, bytes, bytes], Store] = {}
        self._known: dict[tuple[Any, ...], tuple[int, int]] = {}
        self._cells = self._log = b""  # the last, and what it came to
        self._rest = b"", b""
        self._log_hash = _events(b"")

    def store(self, state: Stored) -> Store:
        """What the stored bytes mean, read by the independent checkers."""
        key = (*self._but_log(state.cells), state.keys)
        found = self._stores.get(key)
        if found is None:
            if len(self._stores) > 64:
                self._stores.clear()
            found = self._stores[key] = read_store(state.cells, state.keys, self.lanes, self.lane_length)
        return found

    def state(self, state: Stored) -> int:
        """A number that is equal for states that are one: all that is stored but pulse counts."""
        all_but_card, _ = self._common(state, False)
        log = state.cells[_EVENTS:_EVENTS_END]
        if log != self._log:
            self._log, self._log_hash = log, _events(log)
        return hash((all_but_card, self._log_hash, _card(state.card, False)))

    def behaviour(self, state: Stored) -> int:
        """A number that is equal for states that a meter cannot tell apart; coarser than ``state``."""
        return hash((self._common(state, True)[0], _card(state.card, True)))

    def records(self, state: Stored) -> int:
        """A number that is equal for states with the same records; coarser still, blind to tally and card."""
        return hash(_records(state.cells[:_RECORDS_END], state.keys, True))

    def counting(self, state: Stored) -> int:
        """A number that is equal for states that count alike: tally, thresholds and valve, whosever gas it is."""
        return self._common(state, True)[1]

    def _but_log(self, cells: bytes) -> tuple[bytes, bytes]:
        # The log means nothing to a meter, and to sum up all of it costs more than to read the rest.
        if cells is not self._cells:
            self._cells = cells
            self._rest = cells[:_RECORDS_END], cells[_FINALS[0] :]
        return self._rest

    def _common(self, state: Stored, masked: bool) -> tuple[int, int]:
        # Of one memory many cards are asked about in a row.
        world = (state.place > 0) + (state.place >= self.travel_ms), state.wheels_milli // _QUARTER
        key = (*self._but_log(state.cells), state.keys, world, masked)
        found = self._known.get(key)
        if found is None:
            if len(self._known) > 64:
                self._known.clear()
            found = self._known[key] = self._all_but_card(state, world, masked)
        return found

    def _all_but_card(self, state: Stored, world: tuple[int, int], masked: bool) -> tuple[int, int]:
        # All but the log and the card; and of that what counts.
        cells = state.cells
        store = self.store(state)
        tally = cells[_TALLY:]
        checkpoints, *records = _records(cells[:_RECORDS_END], state.keys, masked)
        counts = (
            (tally,) if store.register is None else _tally(tally, self.lanes, self.lane_length),
            _near(store),
            tuple([_final(cells[at : at + _FINAL_SIZE], masked) for at in _FINALS]),
            *world,
        )
        return hash((checkpoints, *records, *counts)), hash((checkpoints, *counts))


@lru_cache(maxsize=1 << 9)
def _records(cells: bytes, keys: bytes, masked: bool) -> tuple[Any, ...]:
    # All pages below the log: checkpoints, pairs of records, ring.
    pairs = [_pair(cells[at : at + _PAGE], cells[at + _PAGE : at + 2 * _PAGE], alike, masked) for at, alike in _PAIRS]
    pairs.append(_pair(keys[:_PAGE], keys[_PAGE:], _record, masked))
    ring = cells[0x180:0x380]
    return (
        _checkpoints(cells[:_PAGE], cells[_PAGE : 2 * _PAGE], masked),
        tuple(pairs),
        _ring(ring) if masked else ring,
    )


@lru_cache(maxsize=1 << 9)
def _tally(tally: bytes, lanes: int, lane_length: int) -> tuple[Any, ...]:
    # Each lane as what follows the run of marks at its head, without the blank rest, and where the runs stand
    # to each other: the count itself only where it is near one of its ends.
    shapes = [_lane(tally[lane * lane_length : (lane + 1) * lane_length]) for lane in range(lanes)]
    runs = [run for _, run, _ in shapes]
    least = min(runs)
    ends = (min(least, _NEAR), min(lane_length - max(runs), _NEAR))
    return (ends, tuple([(mark, run - least, rest) for mark, run, rest in shapes]))


@lru_cache(maxsize=1 << 10)
def _lane(raw: bytes) -> tuple[int, int, bytes]:
    mark = raw[:1]
    run = len(raw) - len(raw.lstrip(mark))
    rest = raw[run:]
    return mark[0], run, rest.rstrip(rest[-1:]) + rest[-1:]


def _near(store: Store) -> tuple[int, ...]:
    # How the counts stand to the thresholds they are compared with.
    left = store.remaining
    if left - store.alarm >= _NEAR:
        return _FAR  # the nearest of the three
    distances = (left, left + store.overdraft, left - store.alarm, store.test_gas_left)
    return tuple([max(0, min(2 * _NEAR, distance + _NEAR)) for distance in distances])


@lru_cache(maxsize=1 << 10)
def _checkpoints(first: bytes, second: bytes, masked: bool) -> tuple[Any, ...]:
    # Generation and base are pulse counts; what differs is which are whole and how the generations stand to each other.
    whole = [
        x25(raw[:6]) == int.from_bytes(raw[6:8], "big") and raw[1] & 1 == slot
        for slot, raw in enumerate((first, second))
    ]
    ahead = (int.from_bytes(first[:2], "big") - int.from_bytes(second[:2], "big")) & 0xFFFF
    # Of one that is not whole it matters, masked, whether it was ever written.
    rest = [
        b"" if good else raw[:8].strip(b"\0")[:1] and b"?" if masked else raw
        for raw, good in zip((first, second), whole, strict=True)
    ]
    return (*whole, min(ahead, 2) if ahead < 0x8000 else 3, *rest) if all(whole) else (*whole, *rest)


def _whole(raw: bytes) -> bool:
    return crc32(raw[:60]) == int.from_bytes(raw[60:], "big")


# How a whole copy counts: what of it is no pulse count, and what of that, the entry number aside, decides anything.


def _account(raw: bytes, masked: bool) -> bytes:
    return raw[2:21] + raw[25:60] if masked else raw[:21] + raw[25:60]  # not the register at binding


def _state(raw: bytes, masked: bool) -> bytes:
    # Masked: not the report number, not what is only counted.
    return raw[2:8] + raw[11:27] + raw[38:42] if masked else raw[:60]


@lru_cache(maxsize=1 << 10)
def _final(raw: bytes, masked: bool) -> bytes:
    # The final record: of a whole one not the register, used and index, of another, masked, that it is none.
    if x25(raw[:-2]) != int.from_bytes(raw[-2:], "big"):
        return b"" if masked else raw
    return raw[:22] + raw[34:-2]


def _record(raw: bytes, masked: bool) -> bytes:
    return raw[2:60] if masked else raw[:60]


_PAIRS = ((0x80, _account), (0x100, _state), (0x380, _record))


@lru_cache(maxsize=1 << 11)
def _pair(first: bytes, second: bytes, alike: Callable[[bytes, bool], bytes], masked: bool) -> tuple[Any, ...]:
    # Two copies: masked, which is the newer one is all that their entry numbers say.
    whole = [_whole(raw) for raw in (first, second)]
    ahead = (int.from_bytes(first[:2], "big") - int.from_bytes(second[:2], "big")) & 0xFFFF
    order = (ahead == 0, ahead < 0x8000) if masked and all(whole) else ()
    copies = [
        alike(raw, masked) if good else b"" if masked else raw for raw, good in zip((first, second), whole, strict=True)
    ]
    return (*whole, *order, *copies)


@lru_cache(maxsize=1 << 9)
def _ring(raw: bytes) -> tuple[bytes, ...]:
    entries = []
    for at in range(0, len(raw), _PAGE):
        entry = raw[at : at + 6]
        if x25(entry[:4]) == int.from_bytes(entry[4:], "big"):
            entries.append(entry[:4])
    return tuple(entries)


@lru_cache(maxsize=1 << 9)
def _events(raw: bytes) -> int:
    found = []
    for at in range(0, len(raw), _PAGE):
        page = raw[at : at + _PAGE]
        if page != _BLANK:
            found.append(_event_page(page))
    return hash(tuple(found))


@lru_cache(maxsize=1 << 9)
def _event_page(page: bytes) -> bytes:
    return b"|".join([_event(page[at : at + 16]) for at in range(0, _PAGE, 16)])


@lru_cache(maxsize=1 << 10)
def _event(entry: bytes) -> bytes:
    # Of a whole entry its number, kind and detail; not the register it tells.
    whole = any(entry) and x25(entry[:14]) == int.from_bytes(entry[14:], "big")
    return entry[:6] + entry[10:14] if whole else entry


def _is_report(frame: bytes) -> bool:
    outline = frame[0] == 0x68 and frame[2] == len(frame) - 15 and frame[3] == 1 and frame[-1] == 0x16
    return outline and x25(frame[1:-3]) == int.from_bytes(frame[-3:-1], "big")


@lru_cache(maxsize=1 << 10)
def _card(dump: bytes, masked: bool) -> int:
    if not dump:
        return 0
    frames = [dump[start:end] for start, end in _REPORTS]
    if dump[_KIND_AT] == _TRANSFER:
        # Two orders, each byte of which decides, and a final record, of which, masked, it matters whether it is whole.
        start, end = _REPORTS[1]
        final = dump[start:end]
        return hash((dump[:start], dump[end:], b"" if masked and not _is_report(final) else final))
    whole = [_is_report(frame) for frame in frames]
    if masked:
        # What an order and the next report's place are decided by: whose, of which binding, which of two is newer.
        newer = frames[0][4:7] > frames[1][4:7]
        shown = [frame[1:2] + frame[7:26] if good else b"" for frame, good in zip(frames, whole, strict=True)]
    else:
        # Of a whole report all but register, used, index, and MAC and checksum over them.
        newer = False
        shown = [frame[:26] + frame[38:-11] if good else frame for frame, good in zip(frames, whole, strict=True)]
    return hash((dump[:0x5B], dump[0xEF:], newer, *shown))
