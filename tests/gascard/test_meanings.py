"""Every number on a card has its words, and no words are left without a number."""

import re
from pathlib import Path

import pytest

from gascard import codes, meanings, records, tools


def constants(module, prefix):
    items = vars(module).items()
    return {value for name, value in items if name.startswith(prefix) and isinstance(value, int)}


def test_records_every_record_has_meanings():
    assert list(meanings.RECORDS) == list(meanings.FIELD_MEANINGS)


@pytest.mark.parametrize("record", meanings.RECORDS)
def test_fields_words_match_the_table_both_ways(record):
    names = [name for name, _ in meanings.RECORDS[record]]
    assert len(names) == len(set(names))
    assert list(meanings.FIELD_MEANINGS[record]) == names, "same fields, same order"
    for unit, meaning in meanings.FIELD_MEANINGS[record].values():
        assert unit == unit.strip()
        assert meaning.endswith(".") and "|" not in meaning and "\n" not in meaning


def test_codes_words_match_the_constants_both_ways():
    named = {name: value for name, value in vars(codes).items() if name.isupper() and isinstance(value, int)}
    assert {code: words[0] for code, words in meanings.CODES.items()} == {v: k for k, v in named.items()}
    assert len(set(named.values())) == len(named), "no number stands for two rules"
    assert all(-127 <= value <= 0 for value in named.values()), "the report has one byte for it"
    for _, english, chinese, action in meanings.CODES.values():
        assert english.endswith(".") and action.endswith(".")
        assert any("\u4e00" <= letter <= "\u9fff" for letter in chinese)


def test_judging_order_names_each_code_once():
    assert len(set(meanings.JUDGING_ORDER)) == len(meanings.JUDGING_ORDER)
    assert set(meanings.JUDGING_ORDER) <= set(meanings.CODES)


def test_flags_words_match_the_bits_both_ways():
    assert set(meanings.FLAG_MEANINGS) == constants(records, "FLAG_") - {records.FLAGS_ALL}
    assert sum(meanings.FLAG_MEANINGS) == records.FLAGS_ALL
    check_bits(meanings.FLAG_MEANINGS, 8)


def test_status_words_match_the_bits_both_ways():
    assert set(meanings.STATUS_MEANINGS) == constants(records, "STATUS_") | constants(records, "SHUT_")
    check_bits(meanings.STATUS_MEANINGS, 24)


def test_setting_words_match_the_bits_both_ways():
    assert set(meanings.SETTING_MEANINGS) == constants(tools, "SET_") - {tools.SET_ALL}
    assert sum(meanings.SETTING_MEANINGS) == tools.SET_ALL
    check_bits(meanings.SETTING_MEANINGS, 8)


def test_secret_fields_are_the_raw_fields_of_every_record():
    raw = {record: tuple(n for n, kind in layout if kind >> 4 == 3) for record, layout in meanings.RECORDS.items()}
    assert {record: names for record, names in raw.items() if names} == meanings.SECRET_FIELDS


def check_bits(table, width):
    assert all(bit & (bit - 1) == 0 and 0 < bit < 1 << width for bit in table)
    assert len({name for name, _ in table.values()}) == len(table)


def test_kinds_words_match_the_constants_both_ways():
    assert set(meanings.CARD_KINDS) == constants(records, "CARD_")
    text = Path(tools.__file__).read_text(encoding="utf-8")
    block = text[text.index("# Kinds of frame") : text.index("# What a setting card sets")]
    of_tools = {int(number, 16) for number in re.findall(r"^[A-Z_]+ = const\((0x[0-9A-F]+)\)", block, re.MULTILINE)}
    orders = constants(records, "ORDER_") - {records.ORDER_AT}
    assert set(meanings.FRAME_KINDS) == orders | {records.REPORT} | of_tools
    assert len(of_tools) == 8
    for table in (meanings.CARD_KINDS, meanings.FRAME_KINDS):
        assert len({name for name, _, _ in table.values()}) == len(table)
