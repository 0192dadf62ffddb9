"""The fault models: what they leave behind is enumerated, and is all that they say."""

import pytest

from gasrig.faults import FaultModel, between, torn_card_byte, torn_writes

OLD = bytes(range(64)) * 4
DATA = bytes(range(200, 208))
AT = 70


def contents(model, data=DATA, at=AT):
    """The whole memory after each torn write."""
    return {
        OLD[: torn.address] + torn.content + OLD[torn.address + len(torn.content) :]
        for torn in torn_writes(model, OLD, at, data)
    }


def test_between_is_every_subset_of_the_changed_bits():
    assert between(0x0F, 0x0F) == {0x0F}
    assert between(0x00, 0x05) == {0, 1, 4, 5}
    assert between(0xA5, 0x5A) == set(range(256))


def test_clean_cut_stores_the_first_bytes_and_no_other():
    whole = [OLD[:AT] + DATA[:done] + OLD[AT + done :] for done in range(len(DATA))]
    assert contents(FaultModel.CLEAN) == set(whole)


@pytest.mark.parametrize("model", [FaultModel.FRAM, FaultModel.EEPROM])
def test_torn_write_reaches_no_further_than_its_model_says(model):
    first, last = (AT, AT + len(DATA)) if model is FaultModel.FRAM else (64, 128)
    found = contents(model)
    assert contents(FaultModel.CLEAN) < found
    assert all(memory[:first] == OLD[:first] and memory[last:] == OLD[last:] for memory in found)
    for done in range(len(DATA)):
        begun, rest = OLD[:AT] + DATA[:done], OLD[AT + done + 1 :]
        for value in between(OLD[AT + done], DATA[done]) | {0x00, 0xFF}:
            assert begun + bytes((value,)) + rest in found


def test_fram_may_garble_the_bytes_behind_the_one_in_flight():
    found = contents(FaultModel.FRAM)
    for done in range(len(DATA)):
        for fill in (0x00, 0xFF, 0xA5, 0x5A):
            assert OLD[:AT] + DATA[:done] + bytes((fill,)) * (len(DATA) - done) + OLD[AT + len(DATA) :] in found
        assert OLD[:AT] + DATA[:done] + OLD[AT + done : AT + done + 1] + DATA[done + 1 :] + OLD[AT + 8 :] in found


def test_eeprom_may_garble_the_whole_page_even_for_one_byte():
    found = contents(FaultModel.EEPROM, b"\x77")
    page = OLD[64:AT] + b"\x77" + OLD[AT + 1 : 128]
    for done in range(64):
        for fill in (0x00, 0xFF, 0xA5, 0x5A):
            assert OLD[:64] + page[:done] + bytes((fill,)) * (64 - done) + OLD[128:] in found


@pytest.mark.parametrize("model", [FaultModel.CLEAN, FaultModel.FRAM, FaultModel.EEPROM])
def test_no_content_comes_twice_and_every_case_has_a_name(model):
    cases = list(torn_writes(model, OLD, AT, DATA))
    assert len({(torn.address, torn.content) for torn in cases}) == len(cases) == len({torn.name for torn in cases})


def test_card_byte_rises_through_its_erase_and_falls_through_its_write():
    assert torn_card_byte(0x0F, 0x03) == [0x0F, 0x03, 0x07, 0x0B]  # nothing to erase
    values = torn_card_byte(0x0F, 0xF0)
    assert values[0] == 0x0F
    assert set(values) == {0x0F | high << 4 for high in range(16)} | {0xF0 | low for low in range(16)}
    assert torn_card_byte(0x41, 0x41) == [0x41]


def test_every_model_names_its_source():
    assert all("(" in model.value and len(model.value) > 40 for model in FaultModel)
