# Token buckets that a power cut cannot refill: how many wrong MACs a meter still judges (docs/DESIGN.md, D7).
#
# While a card is judged the stored figure is at most tokens - 1, so pulling the plug between take and verdict
# leaves the token spent. A right MAC keeps the token in memory and writes nothing. Tokens come back with powered
# running time only. Entries go round a ring of pages, the newest valid one counts: a torn write falls back on the
# entry before it, which is higher only if nothing has been judged since.

try:
    from micropython import const
except ImportError:
    const = lambda x: x  # noqa: E731

from meter.layouts import LOCKOUT, LOCKOUT_AT, LOCKOUT_PLACES, LOCKOUT_STRIDE
from meter.store import newer, read_small, write_small

TYPE_CHECKING = False
if TYPE_CHECKING:
    from meter.parts import Memory

CARDS = const(0)
SERVICE = const(1)
TOKENS_FULL = const(8)
REFILL_MINUTES = const(30)


class Lockout:
    """Both buckets, cards and service port. ``tokens`` is what each may still judge, ``stored`` what a cut leaves."""

    def __init__(self, memory: "Memory") -> None:
        self._memory = memory
        self._number = 0
        self.tokens = bytearray(2)
        self.stored = bytearray(2)

    def recover(self) -> None:
        """Read the newest valid entry. With none both buckets start empty and refill with time."""
        newest = None
        head = bytearray(2)
        for place in range(LOCKOUT_PLACES - 1, -1, -1):
            address = LOCKOUT_AT + place * LOCKOUT_STRIDE
            self._memory.read_into(address, head)
            number = head[0] << 8 | head[1]
            if number % LOCKOUT_PLACES != place or (newest and not newer(number, newest["number"])):
                continue  # an older one need not be checked
            newest = read_small(self._memory, address, LOCKOUT) or newest
        if newest:
            self._number = newest["number"]
            self.stored[CARDS] = min(newest["cards"], TOKENS_FULL)
            self.stored[SERVICE] = min(newest["service"], TOKENS_FULL)
        self.tokens[:] = self.stored

    def _write(self) -> None:
        self._number = (self._number + 1) & 0xFFFF
        values = {"number": self._number, "cards": self.stored[CARDS], "service": self.stored[SERVICE]}
        address = LOCKOUT_AT + self._number % LOCKOUT_PLACES * LOCKOUT_STRIDE
        write_small(self._memory, address, LOCKOUT, values)

    def take(self, bucket: int) -> bool:
        """Before a MAC is judged. False: the bucket is empty, do not judge. StoreFault: do not judge either."""
        left = self.tokens[bucket] - 1
        if left < 0:
            return False
        if self.stored[bucket] > left:
            self.stored[bucket] = left
            self._write()
        return True

    def failed(self, bucket: int) -> None:
        """The MAC was wrong: the token is gone."""
        self.tokens[bucket] -= 1

    def refill(self) -> None:
        """REFILL_MINUTES of powered running have passed with a bucket not full."""
        for bucket in (CARDS, SERVICE):
            if self.tokens[bucket] < TOKENS_FULL:
                self.tokens[bucket] += 1
                self.stored[bucket] = self.tokens[bucket]
        self._write()

    @property
    def full(self) -> bool:
        """Whether no refill is pending."""
        return self.tokens[CARDS] == self.tokens[SERVICE] == TOKENS_FULL
