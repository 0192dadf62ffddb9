# The prepaid account: what was bought under this binding, and what an order would make of it.
#
# Credit is cumulative (docs/DESIGN.md, D2): an order names all that was ever bought, the account takes the greater,
# so repeating, pulling and replacing cards converge on one number. Only an order marked refund lowers it.

from gascard import codes
from gascard.records import FLAG_PARAMETERS, FLAG_REFUND, TOTAL_MAX
from meter.layouts import ACCOUNT, ACCOUNT_AT, BOUND
from meter.store import Pair

TYPE_CHECKING = False
if TYPE_CHECKING:
    from meter.parts import Memory


_PARAMETERS = ("alarm", "ceiling", "overdraft", "over_flow_seconds")


def _left(values: dict, register: int) -> int:
    return values["bought_total"] - (register - values["register_at_binding"]) - values["correction_total"]


class Account(Pair):
    """The account record. ``values`` as in layouts.ACCOUNT; totals in pulses."""

    def __init__(self, memory: "Memory") -> None:
        super().__init__(memory, ACCOUNT_AT, ACCOUNT)

    @property
    def bound(self) -> bool:
        """Whether an opening card has bound the meter and nothing has ended that."""
        return self.values["state"] == BOUND

    def remaining(self, register: int) -> int:
        """Gas left in pulses when the register reads ``register``; below zero is overdraft."""
        return _left(self.values, register)

    def plan(self, order: dict, card: int, mac: bytes, register: int) -> "tuple[int, dict | None, bool]":
        """What the authentic, newer ``order`` makes of the account: (code, new values, whether credit falls).

        RANGE: the register would end before the gas. REFUND_TOO_LARGE: the gas is burned already. CEILING:
        too much is left to load more (docs/SPEC.md, judging). Nothing is changed here.
        """
        old = self.values
        new = dict(old)
        if old["state"] != BOUND:
            for name in _PARAMETERS:
                new[name] = 0
            new["bought_total"] = 0
            new["state"] = BOUND
            new["register_at_binding"] = register
        refund = order["flags"] & FLAG_REFUND
        # A refund says what is left of all purchases, one that was never loaded here among them.
        new["bought_total"] = order["bought_total"] if refund else max(new["bought_total"], order["bought_total"])
        for name in ("account", "binding", "replacement", "sequence", "correction_total"):
            new[name] = order[name]
        if order["flags"] & FLAG_PARAMETERS:
            for name in _PARAMETERS:
                new[name] = order[name]
        new["card"] = card
        new["order_mac"] = mac
        new["latest_time"] = max(old["latest_time"], order["time"])
        left = _left(new, register)
        if register + left > TOTAL_MAX:
            return codes.RANGE, None, False
        if refund and left < 0:
            return codes.REFUND_TOO_LARGE, None, False
        before = self.remaining(register) if old["state"] == BOUND else 0
        if old["state"] == BOUND and not refund and 0 < old["ceiling"] < before:
            return codes.CEILING, None, False
        return codes.OK, new, left < before
