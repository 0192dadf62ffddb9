# What the meter answers: one number per rule broken, the same on meter, host and in the documents.
# Never renumbered; a new rule takes the next free number. The words for people are in meanings.py.

OK = 0
REPEAT = -1  # this very order is loaded already: a success that changes nothing

NO_CARD = -2  # nothing in the slot answers like an SLE4442
NOT_OURS = -3  # a chip of the right kind without the mark of this card format
SHAPE = -4  # a frame or field that no encoder of this format writes
CRC = -5  # damaged: the bytes do not agree with their own checksum
VERSION = -6  # written in a format this meter does not read
REGION = -7
KIND = -8  # a genuine sort of card that this meter does not serve
METER = -9
ALREADY_BOUND = -10
NOT_BOUND = -11
BINDING = -12
REPLACED = -13
WEIGHT = -14
KEY_VERSION = -15
LOCKED_OUT = -16
MAC = -17
OLDER = -18
SEQUENCE_CONFLICT = -19
REFUND_TOO_LARGE = -20
CEILING = -21
RANGE = -22
NUMBER_USED_UP = -23

CARD_BARRED = -24  # this card's password was refused before and its error counter has not been restored
PASSWORD_REFUSED = -25  # frames and MAC are genuine, the chip is not the one they were written for
REPORT_NOT_WRITTEN = -26  # gas credited; the card could not take the report
CARD_OUT = -27  # pulled before the session was over
STORE_LOST = -28  # both copies of a record unreadable: shut until a recovery order
REGISTER_END = -29  # the register has reached the last number it can hold
FAULT = -30  # the firmware met a case it was not built for; the first cause is in the event log

# What keeps the valve shut, for the display: no card is answered with these.
VALVE_STUCK = -31
SENSOR_FAULT = -32
MAGNET = -33
COVER_OPEN = -34
BATTERY_EMPTY = -35
OVER_FLOW = -36
LARGE_FLOW = -37
SMALL_FLOW = -38
LONG_FLOW = -39
PAST_VALVE = -40
BATTERY_LOW = -41  # only by the self-test

# Only of tool cards (gascard.tools).
CARD_FULL = -42  # a management card with two reports nobody has read yet
NO_FINAL_RECORD = -43  # a transfer card that has not been in the old meter
EXPIRED = -44
TEST_GAS = -45  # more than a meter gives away for tests in its whole life
NOT_UNBOUND = -46  # what is set only on a meter that is bound to nobody
ONE_TRY_LEFT = -47  # of the password of a tool card, which is not worth it: nothing was done
