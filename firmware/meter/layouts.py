# What the meter keeps for itself, as tables of the same form as the card's records, and where it lies (docs/SPEC.md).

try:
    from micropython import const
except ImportError:
    const = lambda x: x  # noqa: E731

from gascard.records import BCD5, BCD7, RAW6, RAW8, RAW12, RAW13, RAW16, S24, TIME, TOTAL, U8, U16, U24, U32, Layout
from gascard.service import EVENT as EVENT

LAYOUT_VERSION = const(1)
COPY_SIZE = const(64)  # of account, state and keys: one page, one write

CHECKPOINT = Layout(
    ("generation", U16),
    ("base", TOTAL),
    ("crc", U16),
)

ACCOUNT = Layout(
    ("entry", U16),
    ("layout", U8),
    ("state", U8),
    ("binding", U8),
    ("replacement", U8),
    ("card", U32),
    ("account", BCD5),
    ("sequence", U16),
    ("bought_total", TOTAL),
    ("register_at_binding", TOTAL),
    ("correction_total", S24),
    ("alarm", U16),
    ("ceiling", U24),
    ("overdraft", U16),
    ("over_flow_seconds", U8),
    ("latest_time", TIME),
    ("order_mac", RAW8),
    ("spare", RAW12),
    ("crc", U32),
)

STATE = Layout(
    ("entry", U16),
    ("layout", U8),
    ("alarm_binding", U8),
    ("alarm_sequence", U16),
    ("latched", U16),
    ("report_number", U24),
    ("service_number", U24),
    ("test_gas", TOTAL),
    ("index_offset", TOTAL),
    ("barred_card", U32),
    ("warned", U8),
    ("valve_moves", U16),
    ("valve_failures", U8),
    ("boots", U16),
    ("power_failures", U8),
    ("magnet_events", U8),
    ("over_flow_count", U8),
    ("last_code", U8),
    ("brown_outs", U8),
    ("exercises", U8),
    ("test_gas_end", TOTAL),
    ("spare", RAW12),
    ("spare_more", RAW6),
    ("crc", U32),
)

KEYS = Layout(
    ("entry", U16),
    ("layout", U8),
    ("state", U8),
    ("region", U16),
    ("meter", BCD7),
    ("key_version", U8),
    ("binding", U8),
    ("key", RAW16),
    ("tool_key", RAW16),
    ("spare", RAW13),
    ("crc", U32),
)

# What a setting card may change while the meter is unbound. ``report`` and ``shut`` have a bit for each guard
# (meter.guards).
GUARDS = Layout(
    ("entry", U16),
    ("layout", U8),
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
    ("spare", RAW16),
    ("spare_more", RAW13),
    ("spare_last", RAW8),
    ("crc", U32),
)

LOCKOUT = Layout(
    ("number", U16),
    ("cards", U8),
    ("service", U8),
    ("crc", U16),
)

# Written states of the account: none is ever inferred from what cannot be read.
FACTORY = const(1)
KEYED = const(2)
BOUND = const(3)
TRANSFERRED = const(4)
CLOSED = const(5)

# Addresses in the nonvolatile memory of the meter; the key copies lie in the controller's own flash.
CHECKPOINT_AT = (0x0000, 0x0040)
ACCOUNT_AT = (0x0080, 0x00C0)
STATE_AT = (0x0100, 0x0140)
LOCKOUT_AT = const(0x0180)
GUARDS_AT = (0x0380, 0x03C0)
LOCKOUT_PLACES = const(8)
LOCKOUT_STRIDE = const(64)
EVENTS_AT = const(0x0400)
EVENT_PLACES = const(176)
FINAL_RECORD_AT = (0x0F00, 0x0F80)
TALLY_AT = const(0x1000)
KEYS_AT = (0x0000, 0x0040)
