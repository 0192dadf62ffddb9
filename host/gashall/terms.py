"""The words the ledger's rows are written in, and how far its numbers go."""

from gascard.records import (
    CARD_CLEAR,
    CARD_KEY,
    CARD_MANAGEMENT,
    CARD_SETTING,
    CARD_TEST,
    CARD_TRANSFER,
)

PENDING = "pending"
WRITTEN = "written"
DONE = "done"
"""States of an order: its exact frame is committed before any byte of it goes on a card; the card was read back and
holds that frame; an authentic report shows it loaded. DESIGN D5, RULES 1 "settling"."""
CARRIED = "carried over"
"""What a written order is told to be once its binding is over: what no report shows loaded of it came along to the next
binding, or was paid back. No row says so: the binding's does."""

# What an order is, beside openings (by their frames) and purchases, which bear no kind.
MAKEUP = "makeup"
GIFT = "gift"
REFUND = "refund"
CANCEL = "cancel"  # of a refund: the total is as before it
REPLACEMENT = "replacement"

PROBE = "probe"
REKEY = "rekey"
ADOPTED = "adopted"
"""Where an order comes from that is no sale: it only asks for a report, says with new keys what the last one said
with keys its meter has no more, or its row was lost and a card had it."""

EXCHANGE = "exchange"
"""An order for the meter an account got in exchange; before it is TRANSFER, what the transfer card moved."""

DRIFT = "drift"
"""A grant: what a meter counted too much, or below zero too little. Its order corrects, and pays for nothing."""

CLOSE = "close"
"""A grant: what was paid back when its account was closed."""

STOPPED = "stopped"
CLOSED = "closed"
"""States of an account; an open one has none."""

CLEAR = "clear"
TRANSFER = "transfer"
MANAGEMENT = "management"
SETTING = "setting"
KEY = "key"
TEST = "test"
TOOL_CARDS = {
    TRANSFER: CARD_TRANSFER,
    CLEAR: CARD_CLEAR,
    MANAGEMENT: CARD_MANAGEMENT,
    SETTING: CARD_SETTING,
    KEY: CARD_KEY,
    TEST: CARD_TEST,
}
"""The company's own cards by the names they have here, and the identity's kind of each."""

SETTINGS = ("limit_purchase", "limit_day", "limit_month", "utc_offset", "sell_recovering")
"""What may be set: limits in hundredths of a m³, how many minutes the hall's days begin before UTC's, and 1 where
accounts of a restored ledger may buy before their meters have reported."""

UTC_OFFSET = 480
"""China's, in minutes: the hall's own clock where nothing is set."""

ACCOUNT_MAX = 9_999_999_999
CARD_MAX = 0xFFFFFFFF
SERVICE_MAX = 0xFFFFFF
STOCK_MOST = 1_000_000
"""The last number of an account, of a card and of a service, and how many blank cards a store holds at most."""
