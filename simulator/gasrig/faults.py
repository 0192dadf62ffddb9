"""What a power cut or a pulled card leaves behind: the fault models, each enumerated and none drawn by chance.

A model answers one question: a write of these bytes was on its way when the power went; what may stand there
now? Its answers are all of the sorts named here, for every byte at which the power may go.
"""

import enum
from collections.abc import Iterator
from typing import NamedTuple

__all__ = ["PAGE", "FaultModel", "Torn", "between", "torn_card_byte", "torn_writes"]

PAGE = 64
# What garbage may look like as a whole: all erased, all written, or the marks of the tally, which its decoder
# would take for pulses.
FILLS = (0x00, 0xFF, 0xA5, 0x5A)


class FaultModel(enum.Enum):
    """How a kind of memory fails, and the source that says so."""

    CLEAN = "the power goes between two bytes: those before it are stored, those behind it are not (any memory)"
    FRAM = (
        "completed bytes stay; the byte in flight and those behind it in the same write may be garbage "
        "(MICROPYTHON, nonvolatile memory: FRAM under brown-out)"
    )
    EEPROM = (
        "the page being written may be garbled, the bytes beside the record among it "
        "(MICROPYTHON, nonvolatile memory: AT24C256, 64-byte page)"
    )
    CARD = "an update of an SLE4442 erases, which sets bits, then writes, which clears them (DOMAIN 4)"


class Torn(NamedTuple):
    """Stored bytes after a cut: ``content`` from ``address`` on; ``name`` is the case's name within the write."""

    name: str
    address: int
    content: bytes


def between(old: int, new: int) -> set[int]:
    """Every value a byte may have on its way from ``old`` to ``new``: each of its changed bits flipped or not."""
    changed = old ^ new
    values = {old}
    for bit in range(8):
        if changed >> bit & 1:
            values |= {value ^ 1 << bit for value in values}
    return values


def torn_writes(model: FaultModel, memory: bytes, address: int, data: bytes) -> Iterator[Torn]:
    """All that may stand in ``memory`` after a cut in a write of ``data`` at ``address``; each content once.

    Names: ``3`` three bytes stored; ``3=41`` the fourth is 0x41; ``3=41+new`` and the rest as it should be; ``3+FF``
    from the fourth on FF; ``page 7+00`` the page as it should be up to its byte 7, then 00.
    """
    seen: set[tuple[int, bytes]] = set()
    for torn in _torn_writes(model, memory, address, data):
        if (torn.address, torn.content) not in seen:
            seen.add((torn.address, torn.content))
            yield torn


def _torn_writes(model: FaultModel, memory: bytes, address: int, data: bytes) -> Iterator[Torn]:
    old = memory[address : address + len(data)]
    for done in range(len(data)):
        yield Torn(f"{done}", address, data[:done] + old[done:])
        if model is FaultModel.CLEAN:
            continue
        begun, rest = data[:done], len(data) - done
        for value in sorted(between(old[done], data[done]) | {0x00, 0xFF}):
            yield Torn(f"{done}={value:02X}", address, begun + bytes((value,)) + old[done + 1 :])
        if model is FaultModel.FRAM:
            for value in (old[done], 0x00, 0xFF):
                yield Torn(f"{done}={value:02X}+new", address, begun + bytes((value,)) + data[done + 1 :])
            for fill in FILLS:
                yield Torn(f"{done}+{fill:02X}", address, begun + bytes((fill,)) * rest)
    if model is FaultModel.EEPROM:
        yield from _torn_page(memory, address, data)


def _torn_page(memory: bytes, address: int, data: bytes) -> Iterator[Torn]:
    start = address - address % PAGE
    old = memory[start : start + PAGE]
    new = old[: address - start] + data + old[address - start + len(data) :]
    for done in range(PAGE):
        yield Torn(f"page {done}+old", start, new[:done] + old[done:])
        for fill in FILLS:
            yield Torn(f"page {done}+{fill:02X}", start, new[:done] + bytes((fill,)) * (PAGE - done))


def torn_card_byte(old: int, new: int) -> list[int]:
    """Every value a card's byte may have when its update from ``old`` to ``new`` is cut short, ``old`` first.

    Where bits must rise the whole byte is erased first: any of its bits may have risen. Then bits are cleared.
    """
    values = {old}
    if new & ~old & 0xFF:
        values |= between(old, 0xFF) | between(0xFF, new)
    else:
        values |= between(old, new)
    return [old, *sorted(values - {old})]
