"""A bench that lives, twice: the supply of one fails, the other goes on as if nothing had been.

To see what a warning stores at many moments of one flow, the flow need not be played again up to each of them. At each
a copy is made of the bench with all that hangs on it: parts, core, and the functions in which the core has closed its
cells. What is no copy is code, layouts and what cannot change. Whatever is of no kind that is known here raises
UnknownKindError, and the flow is played again after all. Only in this process: a virtual machine lets nobody look.
"""

from array import array
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import BuiltinFunctionType, CellType, FunctionType, MethodType
from typing import Any

from gascard.records import Layout
from gasrig.bench import Bench, SupplyFailed

__all__ = ["UnknownKindError", "failing", "twin"]

# What is never changed, only replaced.
_PLAIN = frozenset((int, bool, bytes, str, float, type(None), range, Layout, type, BuiltinFunctionType))
_OURS = ("meter.", "gascard.", "gasrig.")


class UnknownKindError(Exception):
    """Something that nobody knows how to copy."""


def twin(value: Any, seen: dict[int, Any]) -> Any:
    """A copy of ``value`` and of all that hangs on it, in which one thing is one thing again. UnknownKindError.

    ``seen`` is what has been copied, by number, and keeps it alive; empty at first.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    known = seen.get(id(value))
    if known is not None:
        return known
    copy: Any
    if kind is dict:
        copy = seen[id(value)] = {}
        for name, part in value.items():
            copy[name] = part if type(part) in _PLAIN else twin(part, seen)
    elif kind is list:
        copy = seen[id(value)] = []
        copy += [twin(part, seen) for part in value]
    elif kind is bytearray or kind is array:
        copy = seen[id(value)] = value[:]
    elif kind is tuple:
        copy = seen[id(value)] = tuple([twin(part, seen) for part in value])
    elif kind is MethodType:
        copy = seen[id(value)] = MethodType(value.__func__, twin(value.__self__, seen))
    elif kind is FunctionType:
        copy = _function(value, seen)
    elif kind.__module__.startswith(_OURS) and kind.__flags__ & _HEAP and hasattr(value, "__dict__"):
        if any("__slots__" in vars(home) for home in kind.__mro__) or not _is_bare(kind):
            raise UnknownKindError(kind)
        copy = seen[id(value)] = object.__new__(kind)
        copy.__dict__.update(twin(value.__dict__, seen))
    else:
        raise UnknownKindError(kind)
    return copy


_HEAP = 1 << 9  # Py_TPFLAGS_HEAPTYPE: a class written in Python


def _is_bare(kind: type) -> bool:
    # Whether all that its objects hold is in their dict: it is built on no type that holds something besides.
    return all(home is object or home.__flags__ & _HEAP for home in kind.__mro__) and kind.__basicsize__ <= _BARE


class _Bare:
    pass


_BARE = _Bare.__basicsize__


def _function(value: FunctionType, seen: dict[int, Any]) -> FunctionType:
    if value.__closure__ is None:
        seen[id(value)] = value
        return value
    if value.__dict__ or value.__defaults__ or value.__kwdefaults__:
        raise UnknownKindError(value)
    # Two functions may share a cell; and a cell may lead back to the function.
    cells = []
    fresh = []
    for cell in value.__closure__:
        copy = seen.get(id(cell))
        if copy is None:
            copy = seen[id(cell)] = CellType()
            fresh.append((cell, copy))
        cells.append(copy)
    function = FunctionType(value.__code__, value.__globals__, value.__name__, None, tuple(cells))
    seen[id(value)] = function
    for cell, copy in fresh:
        copy.cell_contents = twin(cell.cell_contents, seen)
    return function


@contextmanager
def failing(bench: Bench, stops: set[int], failed: Callable[[int, Bench], None]) -> Iterator[None]:
    """As long as this lasts, after each of these calls of the core a copy of ``bench`` loses its supply with a warning.

    ``failed`` is given the number of the call and the copy, which has no power any more. Calls are counted as for
    bench.STOP_AT. UnknownKindError in the midst of a request if there can be no copy.
    """

    def counted() -> None:
        recorder = bench.recorder
        if recorder is not None and recorder.calls + 1 in stops:
            del bench.__dict__["called"]
            try:
                copy: Bench = twin(bench, {})
            finally:
                bench.__dict__["called"] = counted
            copy.stop_at = recorder.calls + 1
            try:
                copy.called()
            except SupplyFailed:
                failed(recorder.calls + 1, copy)
        Bench.called(bench)

    bench.__dict__["called"] = counted
    try:
        yield
    finally:
        del bench.__dict__["called"]
