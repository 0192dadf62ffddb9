"""Index and register drifting apart: what somebody read off the wheels, against what the meter says.

The mechanical index is the truth, and the register may be off by one pulse (docs/DOMAIN.md, sections 1 and 2). Every
power cut without a warning may add one (docs/fault-model.md). Nothing here asks a ledger or changes anything
(``gashall.reconciliation`` does): what comes out is proposed, to be approved with its reason like any other correction.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from gascard import codes
from gascard.records import S24_MAX, TIME_MAX, TOTAL_MAX
from gashall import errors, units
from gashall.errors import RequestError

__all__ = ["POWER_FAILURES_MAX", "TOLERANCE", "Drift", "Verdict", "compare"]

TOLERANCE = 1  # pulses
POWER_FAILURES_MAX = 0xFF  # where the meter's count stops

_MOST = {"index": TOTAL_MAX, "register": TOTAL_MAX, "power_failures": POWER_FAILURES_MAX}


class Verdict(Enum):
    """What the comparison says."""

    AGREES = "agrees"
    EXPLAINED = "within what power cuts explain"
    APART = "apart"


@dataclass(frozen=True)
class Drift:
    """One comparison. All but ``moment`` and ``verdict`` in pulses.

    ``moment`` is when the report was written, ``wheels`` what was read, ``index`` and ``register`` what the meter says.
    ``drift`` is wheels less index, without what was settled before: above 0 the meter has counted too little.
    ``allowed`` is how far they may be apart; ``at_least`` is true if the meter's count of power failures has
    stopped, so that more may be allowed. ``correction`` is proposed, to be added to the account's correction total.
    """

    moment: datetime
    wheels: int
    index: int
    register: int
    drift: int
    allowed: int
    at_least: bool
    verdict: Verdict
    correction: int


def compare(
    report: Mapping[str, object],
    reading: units.Volume,
    pulse_weight: int,
    wheels: int,
    *,
    settled: int = 0,
    power_failures: int = 0,
) -> Drift:
    """Compare an authentic ``report`` (fields of REPORT_DATA) with what the wheels showed when it was written.

    ``reading`` is that in m³, of digits as fine as the pulse; ``wheels`` is where they return to 0, in pulses:
    10 000 000 for seven such digits. Register and index are never set, so a drift stays: ``settled`` is the sum of all
    corrections made for drift of this meter before, in pulses, over all its accounts. ``power_failures`` is the count
    in the report of the last comparison, 0 if there was none.

    The difference is taken the shorter way round the wheels; half of them counts as too little counted. Gas drawn
    between report and reading looks like drift: card in, valve shut, then read. Within one pulse nothing is
    corrected, for the digits may be about to turn; it is not lost, the next comparison sees it again.

    The correction is the drift. Remaining gas is bought total less used less correction total, so a meter that
    counted too little, whose customer has gas left that is burnt, gets a positive one.

    RequestError: AMOUNT, NOT_WHOLE_PULSES or RANGE for the reading (as ``units.pulses``; RANGE too if it is beyond
    the wheels, or so far from the index that no correction could hold it), WEIGHT, FIELD for the rest.
    """
    units.check_weight(pulse_weight)
    units.whole(wheels, "wheels", 2, TOTAL_MAX + 1)
    units.whole(settled, "settled", -TOTAL_MAX, TOTAL_MAX)
    index, register, failures = (_field(report, name, most) for name, most in _MOST.items())
    if index >= wheels:
        raise RequestError(
            errors.FIELD,
            f"The index {index} in the report is beyond wheels of {wheels} pulses.",
            "Look how many digits this meter's counter has.",
        )
    units.whole(power_failures, "power_failures of the last comparison", 0, failures)
    read = units.pulses(reading, pulse_weight, most=wheels - 1, what="reading")
    half = (wheels - 1) // 2
    drift = (read - index - settled + half) % wheels - half
    if abs(drift) > S24_MAX:
        raise RequestError(
            codes.RANGE,
            f"The wheels are {units.counted(drift, 'pulse')} from the index; no correction holds so much.",
            "Read the wheels again; if it stays so, the meter is exchanged.",
        )
    allowed = TOLERANCE + failures - power_failures
    if abs(drift) <= TOLERANCE:
        verdict = Verdict.AGREES
    elif abs(drift) <= allowed:
        verdict = Verdict.EXPLAINED
    else:
        verdict = Verdict.APART
    return Drift(
        moment=units.moment(_field(report, "time", TIME_MAX)),
        wheels=read,
        index=index,
        register=register,
        drift=drift,
        allowed=allowed,
        at_least=failures == POWER_FAILURES_MAX,
        verdict=verdict,
        correction=0 if verdict is Verdict.AGREES else drift,
    )


def _field(report: Mapping[str, object], name: str, most: int) -> int:
    value = report.get(name)
    if not isinstance(value, int):
        raise RequestError(errors.FIELD, f"The report has no {name}.", "Read the card again.")
    return units.whole(value, name, 0, most)
