# The cards of the company's own people (工具卡) as tables, and where their frames lie. A meter loads this module when
# such a card comes; a firmware build may leave it out, with meter.tools, and then serves customer cards alone.
#
#   card        frame at ORDER_AT   made with   layout         in report slot 0    in report slot 1
#   clear       ORDER_CLEAR         Ko          ORDER                              final record
#   transfer    TRANSFER_OUT        Ko, old     TRANSFER_OUT   TRANSFER_IN, Ko new final record
#   management  MANAGE              Kt          MANAGEMENT     report              report
#   setting     SET                 Kt          SETTING                            report
#   key         KEY                 F or Km     KEY_BLOCK                          report
#   test        ORDER_TEST          Ko          ORDER          report              report
#
# Everything that carries gas or ends an account names one meter and is made with that meter's own key; what the tool
# key opens is harmless (RULES 1 and 4). The final record is a report of kind FINAL. A transfer's is made with the
# transfer's key: below the new meter's Km, and wrapped for the old one.

from binascii import unhexlify

try:
    from micropython import const
except ImportError:
    const = lambda x: x  # noqa: E731

from gascard.records import (
    BCD7,
    ORDER_AT,
    RAW3,
    RAW16,
    REPORT_AT,
    TIME,
    TOTAL,
    U8,
    U16,
    U24,
    Layout,
)

# Kinds of frame, after those of records.
ORDER_CLEAR = const(0x03)
ORDER_TEST = const(0x04)
TRANSFER_IN = const(0x05)  # an ORDER: sequence 1, bought_total the most that may be credited
TRANSFER_OUT = const(0x06)
MANAGE = const(0x07)
SET = const(0x08)
KEY = const(0x09)
FINAL = const(0x82)

# What a setting card sets.
SET_CLOCK = const(0x01)
SET_INDEX = const(0x02)
SET_GUARDS = const(0x04)
SET_ALL = const(0x07)

ANY = "00000000000000"  # a setting for every meter of the region

TRANSFER_IN_AT = REPORT_AT[0]
FINAL_AT = REPORT_AT[1]
TOOL_AT = ORDER_AT

# Labels of keys: the transfer's below the new meter's Km and its wrap below the old one's Kw, and the wrap of keys.
TRANSFER_KEY = b"transfer"
KEY_WRAP = b"key"

TRANSFER = Layout(
    ("meter", BCD7),
    ("binding", U8),
    ("key_version", U8),
    ("new_meter", BCD7),
    ("new_binding", U8),
    ("transfer_key", RAW16),
    ("time", TIME),
    ("psc_mask", RAW3),
)

MANAGEMENT = Layout(
    ("key_version", U8),
    ("expires", TIME),
    ("time", TIME),
    ("psc_mask", RAW3),
)

# The fields of the guards bear the names of the meter's own record (meter.layouts.GUARDS).
SETTING = Layout(
    ("key_version", U8),
    ("meter", BCD7),
    ("service_number", U24),
    ("expires", TIME),
    ("time", TIME),
    ("psc_mask", RAW3),
    ("what", U8),
    ("clock", TIME),
    ("index", TOTAL),
    ("report", U16),
    ("shut", U16),
    ("pause_seconds", U16),
    ("over_flow_seconds", U8),
    ("over_flow_for", U8),
    ("large_flow_gap", U16),
    ("large_flow_for", U8),
    ("small_flow_gap", U16),
    ("small_flow_hours", U8),
    ("long_flow_minutes", U16),
    ("idle_days", U8),
    ("past_valve_pulses", U8),
    ("battery_low", U8),
    ("battery_empty", U8),
)

KEY_BLOCK = Layout(
    ("meter", BCD7),
    ("key_version", U8),
    ("key", RAW16),
    ("tool_key", RAW16),
    ("time", TIME),
    ("psc_mask", RAW3),
)


def transfer_context(meter: str, binding: int, new_binding: int) -> bytes:
    """What a transfer's key is derived for, below the new meter's Km: that meter's coming binding, and the old meter.

    A binding is begun once, so one key credits once.
    """
    return bytes((new_binding,)) + unhexlify(meter) + bytes((binding,))


def wrap_context(binding: int, new_meter: str, new_binding: int) -> bytes:
    """What a transfer's key is wrapped for, below the old meter's Kw: its binding, and the new meter's coming one."""
    return bytes((binding,)) + unhexlify(new_meter) + bytes((new_binding,))


def key_context(region: int, version: int, number: int) -> bytes:
    """What the mask of a new key is derived for: region and version it is of, 0 for Km and 1 for Kt.

    The region stands in it so that one meter's blocks for two regions have no mask in common.
    """
    return region.to_bytes(2, "big") + bytes((version, number))


def masked(key: bytes, mask: bytes) -> bytes:
    """``key`` under ``mask``, or out of it: 16 bytes each, the same operation both ways."""
    return bytes([key[i] ^ mask[i] for i in range(16)])
