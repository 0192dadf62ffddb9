# What a meter answers at its service port to anybody who can reach it: reads of what it also shows or logs.
#
# Frames are those of gascard.link, control READ. The answer carries the body told here; an error answer carries one
# byte, an ERROR_ number. Writing and valve commands need a session with the tool key and are not in this version.
# The bodies of answers, by identifier:
#
#   READ_STATUS    a report as of now (records.REPORT_DATA); report_number is the last that was used
#   READ_COUNTERS  COUNTERS
#   READ_LOG       asked with a number (3 bytes; 0: the newest): the newest number (3), then entries from that number
#                  down (EVENT each), as many as are left in the ring and fit

try:
    from micropython import const
except ImportError:
    const = lambda x: x  # noqa: E731

from gascard.records import TIME, TOTAL, U8, U16, U24, Layout

READ_STATUS = const(0x9101)
READ_COUNTERS = const(0x9102)
READ_LOG = const(0x9103)

ERROR_IDENTIFIER = 1  # no such identifier
ERROR_BODY = 2  # the body is none for this identifier
ERROR_CONTROL = 3  # something else than a read
ERROR_STORE = 4  # the memory does not answer, or the meter has lost it

LOG_ENTRIES = const(14)  # in one answer

EVENT = Layout(
    ("number", U24),
    ("kind", U8),
    ("detail", U16),
    ("register", TOTAL),
    ("time", TIME),
    ("crc", U16),
)

COUNTERS = Layout(
    ("boots", U16),
    ("power_failures", U8),
    ("brown_outs", U8),
    ("magnet_events", U8),
    ("over_flow_count", U8),
    ("valve_moves", U16),
    ("valve_failures", U8),
    ("exercises", U8),
    ("travel_ms", U16),
    ("uncounted", U16),
    ("battery_mv", U16),
)
