"""The hall's border: cubic metres, clock times and numbers people type, against pulses, minutes and digits.

Inside there are only integer pulses (DESIGN D1); here they are made, exactly, or refused. A pulse weight is
the order's field: the number of decimals of a m³ in one pulse (0: 1 m³, 1: 0.1 m³, 2: 0.01 m³).
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import TypeAlias

from gascard import codes
from gascard.records import TIME_MAX, TOTAL_MAX
from gashall import errors
from gashall.errors import RequestError

Volume = Decimal | int | str
"""A volume in m³. Floats are no volume: 0.1 is not a tenth."""

PULSE_WEIGHTS = (0, 1, 2)
FEN_MOST = (1 << 53) - 1
PRICE_DECIMALS = 2
"""Decimals of a fen in a price of one m³: prices are announced in yuan with at most four decimals."""
PRICE_MOST = 99_999_999
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)

Clock: TypeAlias = Callable[[], datetime]
"""Gives the time, as an aware datetime."""

_NUMBER = re.compile(r"[+-]?[0-9]{1,40}(\.[0-9]{1,40})?", re.ASCII)
_PRICE = re.compile(r"([0-9]{1,40})(?:\.([0-9]{1,2})0{0,40})?", re.ASCII)
_YUAN = re.compile(r"([0-9]{1,40})(?:\.([0-9]{1,2}))?", re.ASCII)


def shown(value: object) -> str:
    """Any value in an error's message: short, and without writing out a number of a million digits."""
    if isinstance(value, int) and value.bit_length() > 200:
        return f"a number of {value.bit_length()} bits"
    text = repr(value) if not isinstance(value, Decimal) else str(value)
    return text if len(text) <= 80 else text[:80] + "…"


def counted(count: int, one: str) -> str:
    """``count`` of what ``one`` names, for messages: 1 pulse, 2 pulses, -1 pulse."""
    return f"{count} {one}" if abs(count) == 1 else f"{count} {one}s"


def check_weight(weight: int) -> int:
    """``weight`` itself if it is a pulse weight (0, 1 or 2 decimals); else RequestError WEIGHT."""
    if isinstance(weight, bool) or not isinstance(weight, int) or weight not in PULSE_WEIGHTS:
        raise RequestError(codes.WEIGHT, f"No meter counts in a pulse weight of {shown(weight)}.", "Use 0, 1 or 2.")
    return weight


def whole(value: int, name: str, least: int, most: int) -> int:
    """``value`` itself if it is an int from ``least`` to ``most``; else RequestError FIELD under ``name``."""
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise RequestError(errors.FIELD, f"{name} is {least} to {most}, not {shown(value)}.", f"Correct {name}.")
    return value


def pulses(volume: Volume, weight: int, *, least: int = 0, most: int = TOTAL_MAX, what: str = "volume") -> int:
    """``volume`` m³ as a whole number of pulses, ``least`` (0 or 1) to ``most``.

    Raises RequestError AMOUNT (no number, or 0 where at least one pulse is due), NOT_WHOLE_PULSES, or RANGE
    (negative, or above ``most`` pulses); ``what`` names the figure in the message.
    """
    check_weight(weight)
    if isinstance(volume, int) and not isinstance(volume, bool):
        number = Decimal(volume) if abs(volume) <= TOTAL_MAX else Decimal("Infinity").copy_sign(volume)
    elif isinstance(volume, Decimal):
        number = volume
    elif isinstance(volume, str) and _NUMBER.fullmatch(volume.strip()):
        number = Decimal(volume.strip())
    else:
        raise RequestError(
            errors.AMOUNT,
            f"{shown(volume)} is no {what} in m³.",
            "Enter digits with a decimal point, as 20 or 20.5 (in Python text, int or Decimal: floats are not exact).",
        )
    if number.is_nan():
        raise RequestError(errors.AMOUNT, f"{shown(volume)} is no {what} in m³.", "Enter digits with a decimal point.")
    if number < 0 or number > TOTAL_MAX:
        raise _outside(number, volume, weight, least, most, what)
    # By digits: Decimal's arithmetic rounds at 28 places, and a rounded volume must not pass for a whole one.
    _, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    significant = list(digits)
    while significant and significant[-1] == 0:
        significant.pop()
        exponent += 1
    if not significant:
        if least:
            raise RequestError(errors.AMOUNT, f"The {what} of {_told(number, volume)} m³ is none.")
        return 0
    if exponent < -weight:
        raise RequestError(
            errors.NOT_WHOLE_PULSES,
            f"The {what} of {_told(number, volume)} m³ is no whole number of pulses "
            f"of {Decimal(1).scaleb(-weight)} m³.",
        )
    count: int = int("".join(map(str, significant))) * 10 ** (exponent + weight)
    if count > most:
        raise _outside(number, volume, weight, least, most, what)
    return count


def _told(number: Decimal, volume: Volume) -> str:
    return shown(number if isinstance(volume, str) else volume)


def _outside(number: Decimal, volume: Volume, weight: int, least: int, most: int, what: str) -> RequestError:
    span = f"{Decimal(least).scaleb(-weight) if least else 0} to {Decimal(most).scaleb(-weight)} m³"
    return RequestError(codes.RANGE, f"The {what} of {_told(number, volume)} m³ is outside {span}.", f"Enter {span}.")


def volume(count: int, weight: int) -> Decimal:
    """``count`` pulses (negative too) in m³, exactly, with as many decimals as the weight has."""
    return Decimal(count).scaleb(-check_weight(weight))


def price(fen_per_cubic_metre: Decimal | int | str) -> int:
    """A price, in fen for one m³ with at most two decimals, in hundredths of a fen: 263 is 2.63 yuan, 26300 here.

    RequestError AMOUNT for anything else, for nothing, and above 999999.99 fen.
    """
    text = str(fen_per_cubic_metre).strip() if isinstance(fen_per_cubic_metre, str) else ""
    if type(fen_per_cubic_metre) is int and abs(fen_per_cubic_metre) <= PRICE_MOST:
        text = str(fen_per_cubic_metre)
    elif isinstance(fen_per_cubic_metre, Decimal):
        exponent = fen_per_cubic_metre.as_tuple().exponent
        # Written out only where that is short: 1e999999 is a Decimal too.
        if isinstance(exponent, int) and -40 <= exponent <= 40:
            text = format(fen_per_cubic_metre, "f")
    match = _PRICE.fullmatch(text)
    count = 0 if match is None else int(match[1] + (match[2] or "").ljust(PRICE_DECIMALS, "0"))
    if not 1 <= count <= PRICE_MOST:
        raise RequestError(
            errors.AMOUNT,
            f"{shown(fen_per_cubic_metre)} is no price of a m³ in fen.",
            "Give fen above 0 with at most two decimals, as a Decimal, an int or a string: 263 for 2.63 yuan.",
        )
    return count


def price_fen(count: int) -> Decimal:
    """Hundredths of a fen as fen, exactly, with two decimals."""
    return Decimal(count).scaleb(-PRICE_DECIMALS)


def price_yuan(count: int) -> str:
    """Hundredths of a fen as yuan: two decimals, and two more where they are not 0."""
    text = f"{count // 10_000}.{count % 10_000:04d}"
    return text[:-2] if text.endswith("00") else text


def cost(count: int, weight: int, hundredths: int) -> int:
    """What ``count`` pulses cost in fen at a price of ``hundredths`` of a fen for one m³.

    The product is exact; it is rounded once, half up to the fen (四舍五入到分), never each pulse by itself.
    """
    parts: int = 10 ** (check_weight(weight) + PRICE_DECIMALS)
    # In whole numbers: Decimal's arithmetic follows whatever precision the caller's program has set.
    return (2 * count * hundredths + parts) // (2 * parts)


def fen(yuan: str) -> int:
    """Money as a person writes it, yuan with at most two decimals, in fen. RequestError AMOUNT for anything else."""
    match = _YUAN.fullmatch(yuan) if isinstance(yuan, str) else None
    count = -1 if match is None else int(match[1]) * 100 + int((match[2] or "").ljust(2, "0"))
    if not 0 <= count <= FEN_MOST:
        raise RequestError(
            errors.AMOUNT,
            f"{shown(yuan)} is no sum of money in yuan.",
            "Enter digits, and after a decimal point at most two more: 75 or 75.50.",
        )
    return count


def yuan(count: int) -> str:
    """``count`` fen as yuan with two decimals."""
    sign = "-" if count < 0 else ""
    return f"{sign}{abs(count) // 100}.{abs(count) % 100:02d}"


def minutes(moment: datetime) -> int:
    """A clock time as whole minutes since 2000-01-01 00:00 UTC, rounded down.

    RequestError FIELD if it bears no time zone or lies before 2000 or beyond what a meter can hold.
    """
    if moment.tzinfo is None:
        raise RequestError(errors.FIELD, f"The time {moment} bears no time zone.", "Give an aware datetime.")
    count = (moment - EPOCH) // timedelta(minutes=1)
    if not 0 <= count <= TIME_MAX:
        raise RequestError(errors.FIELD, f"The time {moment} cannot be written on a card.")
    return count


def moment(count: int) -> datetime:
    """Minutes since 2000-01-01 00:00 UTC as an aware datetime. RequestError FIELD beyond year 9999."""
    try:
        return EPOCH + timedelta(minutes=count)
    except OverflowError:
        raise RequestError(errors.FIELD, f"{shown(count)} minutes since 2000 is beyond the calendar.") from None


def zone(offset: int) -> timezone:
    """The clock ``offset`` minutes ahead of UTC; as text ``UTC+08:00``."""
    return timezone(timedelta(minutes=offset))


def stamp(at: datetime) -> str:
    """An aware datetime for people, with how far its clock is ahead of UTC: ``2026-03-01 20:00+08:00``."""
    return at.isoformat(" ", "minutes")


def meter_number(number: str) -> str:
    """``number`` itself if it is a meter number of 14 digits (CJ/T 188); else NUMBER_MALFORMED."""
    return _digits(number, 14, "meter")


def account_number(number: str) -> str:
    """``number`` itself if it is an account number of 10 digits; else RequestError NUMBER_MALFORMED."""
    return _digits(number, 10, "account")


def _digits(number: str, length: int, what: str) -> str:
    if not isinstance(number, str) or not re.fullmatch(f"[0-9]{{{length}}}", number):
        raise RequestError(
            errors.NUMBER_MALFORMED, f"{shown(number)} is no {what} number: it has {length} digits, as text."
        )
    return number
