"""The VM's end of the pipe: link frames in on stdin, answers out on stdout. Portable.

A bench is an object with ``answer(identifier: int, body: bytes) -> bytes``. What it raises goes back as an
error frame that carries the exception's text, so that a traceback never lands among the frames.
"""

import gc
import sys

from gascard.link import ANSWER, ERROR, MAX_BODY, Decoder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Protocol

    class Bench(Protocol):
        def answer(self, identifier: int, body: bytes) -> bytes: ...


STOP = 0xFFFF  # this identifier, or the end of the input, ends the loop


def describe(fault: BaseException) -> bytes:
    """An exception in at most 252 bytes: type and text, then the traceback lines that fit, last first."""
    text = type(fault).__name__ + ": " + str(fault)
    for line in _trace(fault):
        if len(text.encode()) + len(line.encode()) + 1 > MAX_BODY:
            break
        text += "\n" + line
    return text.encode()[:MAX_BODY]


def _trace(fault: BaseException) -> "list[str]":
    # MicroPython's "File ..., line ..." lines, innermost first. CPython's rig has the exception itself.
    show = getattr(sys, "print_exception", None)
    if show is None:
        return []
    import io

    page = io.StringIO()
    show(fault, page)
    lines = [line.strip() for line in page.getvalue().split("\n") if line.startswith("  File")]
    return list(reversed(lines))


class Server:
    """Answers frames from ``source`` on ``sink`` (stdin and stdout) by ``bench``; ``answered`` counts them."""

    def __init__(self, bench: "Bench", source: "Any" = None, sink: "Any" = None) -> None:
        self.answered = 0
        self._bench = bench
        self._source = sys.stdin.buffer if source is None else source
        self._sink = sys.stdout.buffer if sink is None else sink
        self._flush = getattr(self._sink, "flush", None)
        self._decoder = Decoder()

    def turn(self) -> bool:
        """Read once and answer what is whole; False after STOP or the end of the input."""
        data = self._source.read(self._decoder.missing())
        if not data:
            return False
        for frame in self._decoder.feed(data):
            if frame.identifier == STOP:
                return False
            frame.control |= ANSWER
            try:
                frame.body = self._bench.answer(frame.identifier, frame.body)
                reply = frame.encode(0)
            except Exception as fault:
                frame.control |= ERROR
                frame.body = describe(fault)
                reply = frame.encode(0)
            self._sink.write(reply)
            if self._flush is not None:
                self._flush()
            self.answered += 1
        return True


def serve(bench: "Bench", source: "Any" = None, sink: "Any" = None) -> int:
    """Answer frames until STOP or the end (``Server``); return how many."""
    server = Server(bench, source, sink)
    while server.turn():
        pass
    return server.answered


class Echo:
    """The smallest bench, with the misbehaviours a target must survive: the targets' own tests talk to it."""

    ECHO = 0x0001
    RAISE = 0x0002
    HANG = 0x0003
    PRINT = 0x0004
    LEAVE = 0x0005
    TOO_LONG = 0x0006
    COUNT = 0x0007
    LITTER = 0x0008

    def __init__(self, start: int = 0) -> None:
        self.count = start

    def answer(self, identifier: int, body: bytes) -> bytes:
        self.count += 1
        if identifier == self.RAISE:
            raise ValueError(body.decode())
        if identifier == self.HANG:
            while True:
                pass
        if identifier == self.PRINT:
            print("not a frame:", body)
        if identifier == self.LEAVE:
            print("last words")
            sys.exit(3)
        if identifier == self.TOO_LONG:
            return bytes(MAX_BODY + 1)
        if identifier == self.LITTER:
            bytearray(0x10000)
            return gc.mem_alloc().to_bytes(4, "big")
        if identifier == self.COUNT:
            return bytes([self.count >> 8 & 0xFF, self.count & 0xFF])
        return body
