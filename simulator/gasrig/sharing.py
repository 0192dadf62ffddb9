"""Power-ups that are the same: what of many torn states need not be played again, shown state by state.

A write that is cut leaves many states, which differ in the bytes of that write alone (its *span*). What a power-up does
with them follows from what it reads. So one is played and watched: every read and write of both memories is seen. Where
the span was read within one call only of one method, the *reader*, which came before anything was written, and later
only where it had been written anew, then another state comes to the same power-up if the reader makes the same of it.
That is found out by letting the firmware's own reader, put back as it stood when it was called, read that state: what
it returns, all that its object then is, and what it has written are compared.

Nothing is known here of any reader: which one it is the watched power-up tells each time. What cannot be shown (a
second look at the span, an object that holds more than plain values, cells read past the memory's interface, an error)
is played. Only in this process: a virtual machine lets nobody look.
"""

import sys
from array import array
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from types import CodeType, FrameType, FunctionType
from typing import Any, NamedTuple

from gascard.codec import unpack
from gascard.crc import crc16
from gascard.keys import hmac_sha256
from gascard.records import Layout
from gasrig.bench import Bench
from gasrig.checkers import Store, x25
from gasrig.handset import Entry, Snapshot
from gasrig.recorder import KEYS, RecordedEeprom, RecordedFram
from gasrig.states import Stored

__all__ = ["PoweredUp", "Shares", "StateOutsideError", "outside", "remembered"]

_PLAIN = frozenset((int, bool, bytes, str, type(None)))
_OWN = ("written", "writes", "busy_ms", "watch")  # of a memory: they follow from its writes, or are the watch's
_VARIABLE = 0x0C  # co_flags: takes any number of arguments
_FIRMWARE = ("meter.", "gascard.")
_PURE_IN = (*_FIRMWARE, "gashall.")
_STACKS = 64  # so many of them tell who reads
_REMEMBERED = 1 << 12
_NOBODY = ((), ())  # what is made of a span that nobody reads


class StateOutsideError(Exception):
    """The firmware keeps something in a module or a class: then no two power-ups are known to be the same."""


class _UnknownError(Exception):
    """Something that cannot be compared."""


class PoweredUp:
    """A power-up: what the meter says of itself after it, what it wrote. ``judged``: meanings of memory, and cards,
    with which all that follows from them has been judged and holds.
    """

    def __init__(self, snapshot: Snapshot, entries: list[Entry]) -> None:
        self.snapshot = snapshot
        self.entries = entries
        self.judged: list[tuple[Store, bytes]] = []

    def same_as(self, other: "PoweredUp") -> bool:
        """Whether both came to the same. How many calls the core has had since it was built is no part of it."""
        mine, others = ([entry._replace(calls=0) for entry in up.entries] for up in (self, other))
        return self.snapshot == other.snapshot and mine == others


Power = Callable[[Stored, AbstractContextManager[None]], PoweredUp]
"""Plays the power-up of a state, which is put into the meter first; within the context, once that is done."""


class _Reader(NamedTuple):
    """A method that reads a span: its name in the class that has it, and what it runs."""

    home: type
    name: str
    function: FunctionType
    held: list[tuple[Any, Any]]  # by its classes and its module, and a copy of that

    def is_as_ever(self) -> bool:
        """Whether its classes and its module still hold what they held when it was found."""
        return all(now == before for now, before in self.held)


class _Call(NamedTuple):
    """One call of it: on an object of what class, what that object held, and the other arguments, as a copy; what came
    of it; how much was written before.
    """

    sort: type
    before: tuple[Any, ...] | None
    outcome: object
    written: int


class _Watch:
    """What is done to two memories, and above all to the bytes ``start`` to ``end`` of one."""

    def __init__(self, memory: object, start: int, end: int) -> None:
        self.memory = memory
        self.start = start
        self.end = end
        self.fresh = bytearray(end - start)  # 1: written since
        self.wrote: list[tuple[object, int, bytes]] = []
        self.past = False  # cells were reached other than by the memory's methods
        self.running = -1  # which call of the reader runs
        self.calls: list[_Call | None] = []
        self.read_in: set[int] = set()  # the calls that read the span; -1: it was read outside
        self.stacks: list[list[tuple[FrameType, CodeType]]] = []  # ... by whom

    def read(self, memory: object, first: int, last: int) -> None:
        if memory is not self.memory:
            return
        first, last = max(first, self.start) - self.start, min(last, self.end) - self.start
        if first < last and not all(self.fresh[first:last]):
            self.read_in.add(self.running)
            if self.running < 0 and len(self.stacks) < _STACKS:
                self.stacks.append(_stack())

    def write(self, memory: object, address: int, data: bytes, page: int) -> None:
        self.wrote.append((memory, address, data))
        last = address + len(data)
        # What runs over its page lands elsewhere in an EEPROM.
        if memory is self.memory and address // page == (last - 1) // page:
            for place in range(max(address, self.start), min(last, self.end)):
                self.fresh[place - self.start] = 1


def _stack() -> list[tuple[FrameType, CodeType]]:
    frames = []
    frame: FrameType | None = sys._getframe(3)  # behind this, the watch and the memory
    while frame is not None:
        frames.append((frame, frame.f_code))
        frame = frame.f_back
    return frames[::-1]


class _Watched:
    """Makes a recorded memory tell its watch of what is done to it."""

    # The memory's own, whose class comes next.
    page: int

    @property
    def cells(self) -> bytearray:
        held = self.__dict__
        if not held["inside"]:
            held["watch"].past = True
        cells: bytearray = held["cells"]
        return cells

    # A mixin: the memory that has these two methods comes behind it in the classes below, which a type cannot say here.

    def read_into(self, address: int, buffer: bytearray) -> None:
        held = self.__dict__
        held["watch"].read(self, address, address + len(buffer))
        held["inside"] += 1
        try:
            super().read_into(address, buffer)  # type: ignore[misc]
        finally:
            held["inside"] -= 1

    def write(self, address: int, data: bytes | bytearray) -> None:
        held = self.__dict__
        held["watch"].write(self, address, bytes(data), self.page)
        held["inside"] += 1
        try:
            super().write(address, data)  # type: ignore[misc]
        finally:
            held["inside"] -= 1


# ``cells`` is a property in the mixin and a plain attribute in the memories: that is how a look past them is seen.
class _WatchedFram(_Watched, RecordedFram):  # type: ignore[override]
    """An FRAM that is watched."""


class _WatchedEeprom(_Watched, RecordedEeprom):  # type: ignore[override]
    """An EEPROM that is watched."""


class _AloneFram(RecordedFram):
    """An FRAM of our own, for a reader that is asked alone: what it writes is told in ``log``."""

    log: list[tuple[int, bytes]]

    def write(self, address: int, data: bytes | bytearray) -> None:
        self.log.append((address, bytes(data)))
        super().write(address, data)


class _AloneEeprom(RecordedEeprom):
    """The same of an EEPROM."""

    log: list[tuple[int, bytes]]

    def write(self, address: int, data: bytes | bytearray) -> None:
        self.log.append((address, bytes(data)))
        super().write(address, data)


_ALONE: dict[type, type] = {RecordedFram: _AloneFram, RecordedEeprom: _AloneEeprom}
_WATCHED: dict[type, type] = {RecordedFram: _WatchedFram, RecordedEeprom: _WatchedEeprom}


class Shares:
    """Of one bench in this process. What it remembers between batches are guesses, which each batch shows anew."""

    def __init__(self, bench: Bench) -> None:
        self._bench = bench
        self.guesses: dict[tuple[int, int], _Reader] = {}
        self.played = 0
        self.shared = 0

    @property
    def memories(self) -> tuple[Any, Any]:
        """The meter's memory and its key memory."""
        return self._bench.memory, self._bench.key_memory

    def batch(self, base: Stored, kind: int, start: int, end: int, power: Power) -> "Batch":
        """States that are ``base`` but for the bytes ``start`` to ``end`` of a memory (recorder.STORE or KEYS), and the
        card. ``power`` plays the power-up of one.
        """
        return Batch(self, base, kind, start, end, power)


class Batch:
    """The power-ups of states that differ in one span. See ``Shares.batch``."""

    def __init__(self, shares: Shares, base: Stored, kind: int, start: int, end: int, power: Power) -> None:
        self._shares = shares
        self._power = power
        self._kind, self._start, self._end = kind, start, end
        self._base = base
        self._world = base[3:]
        self._off = any(type(memory) not in _WATCHED for memory in shares.memories)
        self._begun = False
        self._reader: _Reader | None = None
        self._call = 0
        self._first: _Call | None = None
        self._known: dict[object, PoweredUp | None] = {}
        # Object and arguments for a call of it alone, and what they hold.
        self._stands: tuple[Any, Any, tuple[Any, ...]] | None = None
        self._alone: list[Any] = []  # memories of our own, what they hold, and what was written to them
        self._logs: tuple[list[tuple[int, bytes]], list[tuple[int, bytes]]] = ([], [])
        self._held: list[dict[str, Any]] = []

    def power_up(self, stored: Stored) -> tuple[PoweredUp, bool]:
        """The power-up of ``stored``, and whether it was played just now."""
        up, played = self._power_up(stored)
        if played:
            self._shares.played += 1
        else:
            self._shares.shared += 1
        return up, played

    def _power_up(self, stored: Stored) -> tuple[PoweredUp, bool]:
        if self._off or not self._is_of_it(stored):
            return self._power(stored, nullcontext()), True
        if not self._begun:
            return self._begin(stored), True
        outcome = self._made_of(stored)
        if outcome is None:
            return self._power(stored, nullcontext()), True
        if outcome in self._known:
            known = self._known[outcome]
            return (self._power(stored, nullcontext()), True) if known is None else (known, False)
        watch = _Watch(self._shares.memories[self._kind == KEYS], self._start, self._end)
        up = self._watched(stored, watch, self._reader, keep=False)
        self._known[outcome] = up if self._is_shown(watch, outcome) else None
        return up, True

    def _is_of_it(self, stored: Stored) -> bool:
        base, start, end = self._base, self._start, self._end
        if stored[3:] != self._world:
            return False
        if self._kind == KEYS:
            same, have, want = stored.cells == base.cells, base.keys, stored.keys
        else:
            same, have, want = stored.keys == base.keys, base.cells, stored.cells
        return same and len(have) == len(want) and have[:start] == want[:start] and have[end:] == want[end:]

    def _begin(self, stored: Stored) -> PoweredUp:
        place = (self._kind, self._start // 64)
        guess = self._shares.guesses.get(place)
        tried: list[object] = []
        while True:
            watch = _Watch(self._shares.memories[self._kind == KEYS], self._start, self._end)
            up = self._watched(stored, watch, guess, keep=True)
            if self._take(stored, watch, guess, up):
                self._begun = True
                if guess is not None:
                    self._shares.guesses[place] = guess
                return up
            if guess is not None:
                tried.append(guess.function)
            other = _reader_of(watch.stacks)
            if other is None or other.function in tried:
                # Nobody, or several: each of two who read the span names the other.
                self._off = True
                return up
            guess = other

    def _take(self, stored: Stored, watch: _Watch, reader: _Reader | None, up: PoweredUp) -> bool:
        # Whether that power-up shows what the others are to be compared by.
        if watch.past:
            return False
        if not watch.read_in:
            self._known[_NOBODY] = up
            return True
        if reader is None or len(watch.read_in) != 1 or -1 in watch.read_in:
            return False
        self._reader = reader
        self._call = next(iter(watch.read_in))
        self._first = watch.calls[self._call]
        if self._first is None or self._first.before is None:
            return False
        outcome = self._made_of(stored)
        if outcome is None or not self._is_shown(watch, outcome):
            return False
        self._known[outcome] = up
        return True

    def _is_shown(self, watch: _Watch, outcome: object) -> bool:
        """Whether the watched power-up read the span in that one call, before anything was written, to that outcome."""
        if watch.past:
            return False
        if self._reader is None:
            return not watch.read_in
        if watch.read_in != {self._call}:
            return False
        call = watch.calls[self._call]
        return call is not None and not call.written and call.outcome == outcome

    def _watched(self, stored: Stored, watch: _Watch, reader: _Reader | None, *, keep: bool) -> PoweredUp:
        memories = self._shares.memories
        with _replaced(watch, reader, memories, keep):
            return self._power(stored, _watching(memories, watch))

    def _made_of(self, stored: Stored) -> object:
        """What the reader makes of ``stored``; None if that cannot be told."""
        if self._reader is None:
            return _NOBODY
        assert self._first is not None and self._first.before is not None
        if not self._alone:
            self._take_memories()
        ours = self._alone
        for memory, held in zip(ours, self._held, strict=True):
            memory.__dict__.clear()
            memory.__dict__.update(held)
        content = stored.keys if self._kind == KEYS else stored.cells
        cells = self._held[self._kind == KEYS]["cells"]
        cells[self._start : self._end] = content[self._start : self._end]
        if self._stands is None:
            this: Any = object.__new__(self._first.sort)
            holds, arguments = _copied(self._first.before, ours, {})
            this.__dict__.update(holds)
            self._stands = this, arguments, _held_by(_outcome(None, arguments, this, [], ours))
        this, arguments, before = self._stands
        outcome: tuple[Any, ...] | None = None
        try:
            result = self._reader.function(this, *arguments)
            wrote = [(sort, *write) for sort in (0, 1) for write in self._logs[sort]]
            outcome = _outcome(result, arguments, this, wrote, ours)
        except Exception:  # whatever it is, it is played
            outcome = None
        if outcome is None or _held_by(outcome) != before:
            self._stands = None  # the next call finds a copy of its own
        for memory, held, stands in zip(ours, self._held, (stored.cells, stored.keys), strict=True):
            log = held["log"]
            if _is_other(held, memory.__dict__) or held["cells"] != _written(stands, log, memory.page):
                outcome = None
            if log or outcome is None:
                self._alone, self._stands = [], None
        # What it leaves in its class or module lives on, here and in the meter: nothing more is known then.
        if not self._reader.is_as_ever():
            self._off = True
            return None
        return outcome

    def _take_memories(self) -> None:
        self._alone, self._held, self._logs = [], [], ([], [])
        for memory, content, log in zip(
            self._shares.memories, (self._base.cells, self._base.keys), self._logs, strict=True
        ):
            sort = _ALONE[type(memory)]
            self._alone.append(object.__new__(sort))
            self._held.append({**memory.__dict__, "cells": bytearray(content), "recorder": None, "log": log})


def _written(stands: bytes, log: list[tuple[int, bytes]], page: int) -> bytes | bytearray:
    # What stands in a memory after these writes; nothing where one runs over its page.
    if not log:
        return stands
    cells = bytearray(stands)
    for address, data in log:
        if address // page != (address + len(data) - 1) // page:
            return b""
        cells[address : address + len(data)] = data
    return cells


@contextmanager
def _watching(memories: tuple[Any, Any], watch: _Watch) -> Iterator[None]:
    """As long as this lasts the watch hears of what is done to the memories."""
    sorts = [type(memory) for memory in memories]
    before = [dict(memory.__dict__) for memory in memories]
    for memory, sort in zip(memories, sorts, strict=True):
        memory.__dict__.update(inside=0, watch=watch)
        memory.__class__ = _WATCHED[sort]
    try:
        yield
    finally:
        for memory, sort, was in zip(memories, sorts, before, strict=True):
            memory.__class__ = sort
            del memory.__dict__["inside"], memory.__dict__["watch"]
            watch.past |= _is_other(was, memory.__dict__)


def _is_other(was: dict[str, Any], now: dict[str, Any]) -> bool:
    # Whether somebody has left something in a memory, beside its cells.
    if len(was) != len(now):
        return True
    for name, value in was.items():
        held = now.get(name)
        if held is not value and name not in _OWN and held != value:
            return True
    return False


@contextmanager
def _replaced(watch: _Watch, reader: _Reader | None, memories: tuple[Any, Any], keep: bool) -> Iterator[None]:
    """As long as this lasts calls of the reader are noted."""
    if reader is None:
        yield
        return
    function = reader.function

    def noted(this: Any, *arguments: Any, **named: Any) -> Any:
        if watch.running >= 0:
            return function(this, *arguments, **named)
        number = watch.running = len(watch.calls)
        watch.calls.append(None)
        written = len(watch.wrote)
        before = None
        try:
            if keep:
                try:
                    before = _copied((this.__dict__, arguments), memories, {})
                except _UnknownError:
                    before = None
            result = function(this, *arguments, **named)
        finally:
            watch.running = -1
        if not named:
            try:
                wrote = [(int(memory is memories[1]), address, data) for memory, address, data in watch.wrote[written:]]
                by_memory = sorted(wrote, key=lambda write: write[0])
                outcome = _outcome(result, arguments, this, by_memory, memories)
            except _UnknownError:
                return result
            watch.calls[number] = _Call(type(this), before, outcome, written)
        return result

    setattr(reader.home, reader.name, noted)
    try:
        yield
    finally:
        setattr(reader.home, reader.name, function)


def _reader_of(stacks: list[list[tuple[FrameType, CodeType]]]) -> _Reader | None:
    """The innermost call of a method that all these reads were made in."""
    if not stacks:
        return None
    common = 0
    shortest = min(map(len, stacks))
    while common < shortest and all(stack[common][0] is stacks[0][common][0] for stack in stacks):
        common += 1
    for frame, code in reversed(stacks[0][:common]):
        if not code.co_argcount or code.co_kwonlyargcount or code.co_flags & _VARIABLE or code.co_freevars:
            continue
        this = frame.f_locals.get(code.co_varnames[0])
        if not hasattr(this, "__dict__") or hasattr(this, "__slots__"):
            continue
        for home in type(this).__mro__:
            for name, value in vars(home).items():
                if isinstance(value, FunctionType) and value.__code__ is code:
                    return _Reader(home, name, value, _holdings(type(this), value))
    return None


def _holdings(sort: type, function: FunctionType) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    for home in (*[vars(home) for home in sort.__mro__ if home is not object], function.__globals__):
        found.append((home, dict(home)))
        found += [(value, value.copy()) for value in home.values() if isinstance(value, (list, dict, set, bytearray))]
    return found


def _outcome(
    result: object, arguments: object, this: Any, wrote: list[tuple[int, int, bytes]], memories: Any
) -> tuple[Any, ...]:
    # All that a call has come to: what its object then is, its arguments, which it may have filled, what it returns.
    seen: dict[int, int] = {}
    holds = _frozen(this.__dict__, memories, seen)
    return holds, _frozen(arguments, memories, seen), _frozen(result, memories, seen), tuple(wrote)


def _held_by(outcome: tuple[Any, ...]) -> tuple[Any, ...]:
    return outcome[:2]


def _frozen(value: Any, memories: Any, seen: dict[int, int]) -> object:
    """Equal for what is equal in every part and type, and in which of its parts are one and the same."""
    kind = type(value)
    if kind in _PLAIN:
        return kind, value
    if kind is Layout:
        return kind, id(value)
    for number, memory in enumerate(memories):
        if value is memory:
            return "memory", number
    if id(value) in seen:
        return "again", seen[id(value)]
    seen[id(value)] = len(seen)
    if kind is dict:
        parts = tuple(value.values())
        kinds = tuple(map(type, parts))
        if _PLAIN.issuperset(kinds):
            return kind, tuple(value), kinds, parts
        return kind, tuple(value), tuple([_frozen(part, memories, seen) for part in parts])
    if kind is list or kind is tuple:
        return kind, tuple([_frozen(part, memories, seen) for part in value])
    if kind is bytearray:
        return kind, bytes(value)
    if kind is array:
        return kind, value.typecode, value.tobytes()
    raise _UnknownError(kind)


def _copied(value: Any, memories: Any, seen: dict[int, Any]) -> Any:
    """A copy that shares nothing but what cannot change; for a memory that of ``memories`` with its number."""
    kind = type(value)
    if kind in _PLAIN or kind is Layout:
        return value
    if isinstance(value, _Place):
        return memories[value.number]
    for number, memory in enumerate(memories):
        if value is memory:
            return _PLACES[number]
    if id(value) in seen:
        return seen[id(value)]
    copy: Any
    if kind is dict:
        copy = seen[id(value)] = {}
        for name, part in value.items():
            copy[name] = part if type(part) in _PLAIN else _copied(part, memories, seen)
    elif kind is list:
        copy = seen[id(value)] = []
        copy += [_copied(part, memories, seen) for part in value]
    elif kind is tuple:
        copy = seen[id(value)] = tuple([_copied(part, memories, seen) for part in value])
    elif kind is bytearray or kind is array:
        copy = seen[id(value)] = value[:]
    else:
        raise _UnknownError(kind)
    return copy


class _Place(NamedTuple):
    """Stands in a copy for a memory."""

    number: int


_PLACES = (_Place(0), _Place(1))


# ---------------------------------------------------------------------- what follows from bytes alone


_records: dict[tuple[Layout, bytes], dict[str, Any]] = {}
_macs: dict[tuple[bytes, bytes], bytes] = {}


def _unpack(layout: Layout, data: bytes | bytearray, offset: int = 0) -> dict[str, Any]:
    key = (layout, bytes(data[offset : offset + layout.size]))
    values = _records.get(key)
    if values is None:
        values = unpack(layout, data, offset)
        if len(_records) > _REMEMBERED:
            _records.clear()
        _records[key] = values
    return values.copy()


def _hmac_sha256(key: bytes | bytearray, message: bytes | bytearray) -> bytes:
    both = (bytes(key), bytes(message))
    mac = _macs.get(both)
    if mac is None:
        if len(_macs) > _REMEMBERED:
            _macs.clear()
        mac = _macs[both] = hmac_sha256(key, message)
    return mac


def _crc16(data: bytes | bytearray, start: int = 0, end: int = -1) -> int:
    return x25(bytes(data[start:] if end < 0 else data[start:end]))


def _is_x25() -> bool:
    # Whether the firmware's sum is the library's: of every byte, and of more than one. It goes byte by byte, and what
    # a byte does to the sum before it is linear.
    alone = all(crc16(bytes((value,))) == _crc16(bytes((value,))) for value in range(256))
    run = bytes(range(256))
    return alone and all(crc16(run, at, at + 19) == _crc16(run, at, at + 19) for at in range(0, 237, 7))


@contextmanager
def remembered() -> Iterator[None]:
    """As long as this lasts a record is read, and a MAC made, once for the same bytes, and the CRC is the library's.

    The three functions know nothing but what they are given. A record is a new dict each time, its values cannot
    change. The CRC is left alone where the firmware's is another.
    """
    pure: list[tuple[str, object, object]] = [("unpack", unpack, _unpack), ("hmac_sha256", hmac_sha256, _hmac_sha256)]
    if _is_x25():
        pure.append(("crc16", crc16, _crc16))
    changed = []
    for name, module in sorted(sys.modules.items()):
        if name.startswith(_PURE_IN):
            for key, real, mine in pure:
                if vars(module).get(key) is real:
                    setattr(module, key, mine)
                    changed.append((module, key, real))
    try:
        yield
    finally:
        for module, key, real in changed:
            setattr(module, key, real)


# ---------------------------------------------------------------------- what no reader may touch


def outside() -> list[tuple[str, object]]:
    """All that the firmware's modules and classes hold, so that what one call leaves to another there can be seen."""
    found: list[tuple[str, object]] = []
    for name, module in sorted(sys.modules.items()):
        if name.startswith(_FIRMWARE):
            for key, value in sorted(vars(module).items()):
                if key.startswith("__"):
                    continue
                found.append((f"{name}.{key}", _told(value)))
                if isinstance(value, type) and value.__module__ == name:
                    found += [
                        (f"{name}.{key}.{part}", _told(held))
                        for part, held in sorted(vars(value).items())
                        if part not in ("__dict__", "__weakref__", "__doc__")
                    ]
    return found


def _told(value: object) -> object:
    if isinstance(value, (list, dict, set, bytearray, array)):
        return repr(value)
    if isinstance(value, Layout):
        return repr(sorted(vars(value).items()))
    return id(value) if not isinstance(value, (int, str, bytes)) else value
