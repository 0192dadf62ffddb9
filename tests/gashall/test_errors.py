"""The hall's codes: stable, named, worded in two languages, never at odds with the meter's."""

import pytest

from gascard import codes
from gashall import errors
from gashall.errors import CardError, GasError, LedgerError, ReaderError, RequestError

# As published. A number that changes here breaks whoever stored it.
PUBLISHED = {
    "NOT_WHOLE_PULSES": -100,
    "AMOUNT": -101,
    "NUMBER_MALFORMED": -102,
    "FIELD": -103,
    "IMAGE_SIZE": -104,
    "CARD_BLANK": -105,
    "CARD_NOT_BLANK": -106,
    "CARD_UNKNOWN": -107,
    "CARD_SWAPPED": -108,
    "CARD_DEAD": -109,
    "LAST_TRY": -110,
    "WRITE_REFUSED": -111,
    "READ_BACK_DIFFERS": -112,
    "GAS_ON_CARD": -113,
    "OPENING_NOT_LOADED": -114,
    "REPORT_OLDER": -115,
    "REPORT_MISSING": -116,
    "LEDGER_BEHIND": -117,
    "PENDING_ELSEWHERE": -118,
    "ORDER_FINISHED": -119,
    "ACCOUNT_UNKNOWN": -120,
    "ORDER_MISSING": -121,
    "KEY_FILE": -122,
    "READER": -123,
    "READER_USE": -124,
    "LEDGER": -125,
    "LEDGER_REGION": -126,
    "OPENING_DIFFERS": -127,
    "LEDGER_KEY": -128,
    "LEDGER_MISSING": -129,
    "LEDGER_VERSION": -130,
    "PRICE_MISSING": -131,
    "PRICE_DIFFERS": -132,
    "PRICE_PAST": -133,
    "OVER_LIMIT": -134,
    "SHIFT_MISSING": -135,
    "SHIFT_OPEN": -136,
    "SHIFT_DIFFERS": -137,
    "STOCK_SHORT": -138,
    "GRANT_MISSING": -139,
    "GRANT_NOT_APPROVED": -140,
    "APPROVER": -141,
    "GRANT_WRITTEN": -142,
    "GRANT_ACCOUNT": -143,
    "GRANT_ENDED": -144,
    "HELD": -145,
    "NOT_HELD": -146,
    "REFUND_UNPAID": -147,
    "REFUND_NOT_PROVEN": -148,
    "REFUND_AFTER": -149,
    "ACCOUNT_STOPPED": -150,
    "ACCOUNT_CLOSED": -151,
    "CARD_IN_USE": -152,
    "RECOVERING": -165,
    "SUSPENDED": -166,
    "NOTHING_TO_ADOPT": -167,
    "NOT_SUSPENDED": -168,
    "NOT_RECOVERING": -169,
    "CARD_HALF_MADE": -155,
    "BATCH_ROWS": -156,
    "BATCH_STOPPED": -157,
    "BINDING_ENDS": -180,
    "TOOL_UNKNOWN": -181,
    "TOOL_DIFFERS": -182,
    "TOOL_ENDED": -183,
    "TOOL_OUT": -184,
    "METER_UNKNOWN": -185,
    "FINAL_MISSING": -186,
    "ORDER_WAITS": -187,
    "EXCHANGE": -190,
    "EXCHANGE_MISSING": -191,
    "METER_DEAD": -192,
    "DEAD_METER_LIMIT": -193,
    "REPLACEMENT_UNSEEN": -197,
    "DEAD_METER_OWED": -198,
}


def test_host_codes_are_as_published():
    assert {row[0]: code for code, row in errors.HOST_CODES.items()} == PUBLISHED
    assert all(getattr(errors, name) == code for name, code in PUBLISHED.items())


@pytest.mark.parametrize("code", [*errors.HOST_CODES, codes.OK, codes.MAC, codes.NUMBER_USED_UP])
def test_code_has_name_sentence_chinese_and_remedy(code):
    name, english, chinese, remedy = errors.words(code)
    assert name.isupper()
    assert english.endswith(".")
    assert remedy.endswith(".")
    assert any("\u4e00" <= character <= "\u9fff" for character in chinese)


def test_error_says_what_happened_and_what_to_do():
    error = CardError(errors.GAS_ON_CARD)
    assert (error.code, error.name) == (-113, "GAS_ON_CARD")
    assert error.message in str(error)
    assert error.remedy in str(error)
    assert error.message_zh == "卡内有未充入表的气量"


def test_error_keeps_its_own_sentence():
    error = RequestError(codes.RANGE, "Too much.", "Ask for less.")
    assert str(error) == "RANGE (-22): Too much. Ask for less."


@pytest.mark.parametrize("kind", [RequestError, CardError, ReaderError, LedgerError])
def test_every_error_is_a_gas_error(kind):
    assert issubclass(kind, GasError)
