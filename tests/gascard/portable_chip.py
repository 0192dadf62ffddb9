# The SLE4442 model against the facts of the chip. Runs on every VM: nothing is imported but gascard.

from gascard.chip import Chip, milliseconds
from gascard.sle4442 import (
    ATR,
    COMPARE,
    READ_MAIN,
    READ_PROTECTION,
    READ_SECURITY,
    UPDATE_MAIN,
    UPDATE_SECURITY,
    WRITE_PROTECTION,
    tries_left,
)

PSC = b"\x47\xd5\x87"


def card():
    """A powered card with a password of its own."""
    chip = Chip()
    chip.security[1:4] = PSC
    chip.power_on()
    return chip


def spend(chip):
    """Write one free counter bit to 0, as the procedure begins."""
    counter = chip.read(READ_SECURITY, 0)[0] & 7
    chip.command(UPDATE_SECURITY, 0, counter & (counter - 1))


def present(chip, psc=PSC):
    """The whole procedure as a reader does it; whether the counter reads 07 after it."""
    spend(chip)
    for i in range(3):
        chip.command(COMPARE, i + 1, psc[i])
    chip.command(UPDATE_SECURITY, 0, 0xFF)
    return chip.read(READ_SECURITY, 0)[0] == 7


def unlocked():
    chip = card()
    assert present(chip)
    return chip


def writable(chip):
    """Whether a byte outside the protected area can be changed; it is put back."""
    old = chip.read(READ_MAIN, 0x80)[0]
    chip.command(UPDATE_MAIN, 0x80, old ^ 0x0F)
    changed = chip.read(READ_MAIN, 0x80)[0] != old
    chip.command(UPDATE_MAIN, 0x80, old)
    return changed


def test_new_chip_is_as_the_maker_ships_it():
    chip = Chip()
    assert chip.power_on() == ATR
    assert chip.read(READ_MAIN, 0)[:8] == b"\xa2\x13\x10\x91\xff\xff\x81\x15"
    assert chip.read(READ_MAIN, 0x15)[:6] == b"\xd2\x76\x00\x00\x04\x00"
    assert chip.read(READ_MAIN, 0x1B) == b"\xff" * (256 - 0x1B)
    assert chip.read(READ_SECURITY, 0) == b"\x07\x00\x00\x00"
    assert chip.read(READ_PROTECTION, 0) == b"\xf0\xff\xff\xff"
    assert present(chip, b"\xff\xff\xff")


def test_read_main_runs_to_the_end_of_memory():
    chip = card()
    assert len(chip.read(READ_MAIN, 0)) == 256
    assert len(chip.read(READ_MAIN, 0xFF)) == 1
    assert chip.read(UPDATE_MAIN, 0) == b""


def test_psc_reads_zero_until_verified_and_again_after_power_off():
    chip = card()
    assert chip.read(READ_SECURITY, 0)[1:] == b"\0\0\0"
    assert present(chip)
    assert chip.read(READ_SECURITY, 0) == b"\x07" + PSC
    chip.power_off()
    chip.power_on()
    assert chip.read(READ_SECURITY, 0) == b"\x07\0\0\0"


def test_nothing_can_be_written_before_verification():
    chip = card()
    before = chip.dump()
    assert not writable(chip)
    chip.command(WRITE_PROTECTION, 8, chip.main[8])
    chip.command(UPDATE_SECURITY, 1, 0)
    chip.command(UPDATE_SECURITY, 2, 0)
    chip.command(UPDATE_SECURITY, 3, 0)
    assert chip.dump() == before


def test_access_lasts_until_power_goes():
    chip = unlocked()
    assert writable(chip) and writable(chip)
    chip.power_off()
    assert not writable(chip)
    chip.power_on()
    assert not writable(chip)
    assert present(chip) and writable(chip)


def test_reset_takes_access_away():
    chip = unlocked()
    chip.power_on()
    assert not writable(chip)


def test_counter_falls_by_one_try_and_comes_back_with_success():
    chip = card()
    seen = []
    spend(chip)
    seen.append(chip.read(READ_SECURITY, 0)[0])
    for i in range(3):
        chip.command(COMPARE, i + 1, PSC[i])
    seen.append(chip.read(READ_SECURITY, 0)[0])
    chip.command(UPDATE_SECURITY, 0, 0xFF)
    seen.append(chip.read(READ_SECURITY, 0)[0])
    assert [tries_left(value) for value in seen] == [2, 2, 3]


def test_counter_bits_only_fall_until_success():
    chip = card()
    spend(chip)
    left = chip.read(READ_SECURITY, 0)[0]
    for data in range(256):
        if data & left == left:
            chip.command(UPDATE_SECURITY, 0, data)
            assert chip.read(READ_SECURITY, 0)[0] == left
    chip.power_on()
    chip.command(UPDATE_SECURITY, 0, 0xFF)
    assert chip.read(READ_SECURITY, 0)[0] == left


def test_only_one_bit_may_be_spent_at_a_time():
    chip = card()
    chip.command(UPDATE_SECURITY, 0, 0x00)
    chip.command(UPDATE_SECURITY, 0, 0x01)
    assert chip.read(READ_SECURITY, 0)[0] == 7
    for i in range(3):
        chip.command(COMPARE, i + 1, PSC[i])
    assert not chip.verified


def test_each_of_the_three_bits_can_be_the_one_spent():
    for bit in (1, 2, 4):
        chip = card()
        chip.command(UPDATE_SECURITY, 0, 7 ^ bit)
        for i in range(3):
            chip.command(COMPARE, i + 1, PSC[i])
        assert chip.verified


# Every way to stray from the procedure. S spends a try; 1, 2, 3 compare that byte rightly, x byte 1 and y
# byte 3 wrongly; m updates main memory, p writes a protection bit, e erases the counter, 0 cuts the power.
DEVIATIONS = (
    "123",
    "S23",
    "S132",
    "S213",
    "S321",
    "S1123",
    "S12",
    "S112233",
    "Sx23",
    "Sx123",
    "S12y",
    "S12y3",
    "S1m23",
    "Sm123",
    "S12p3",
    "S0123",
    "S120",
    "S1203",
    "S1e23",
    "Se123",
    "S1S23",
    "123S",
    "S3",
    "SS3",
)


def follow(chip, steps):
    for step in steps:
        if step == "S":
            spend(chip)
        elif step == "x":
            chip.command(COMPARE, 1, PSC[0] ^ 1)
        elif step == "y":
            chip.command(COMPARE, 3, PSC[2] ^ 0x80)
        elif step == "m":
            chip.command(UPDATE_MAIN, 0x80, 0)
        elif step == "p":
            chip.command(WRITE_PROTECTION, 8, chip.main[8])
        elif step == "e":
            chip.command(UPDATE_SECURITY, 0, 0xFF)
        elif step == "0":
            chip.power_off()
            chip.power_on()
        else:
            chip.command(COMPARE, int(step), PSC[int(step) - 1])


def test_any_deviation_from_the_procedure_fails():
    for steps in DEVIATIONS:
        chip = card()
        follow(chip, steps)
        counter = chip.read(READ_SECURITY, 0)[0]
        chip.command(UPDATE_SECURITY, 0, 0xFF)
        assert not chip.verified, steps
        assert chip.read(READ_SECURITY, 0) == bytes((counter, 0, 0, 0)), steps
        assert not writable(chip), steps


def test_a_deviation_can_be_mended_by_beginning_again():
    chip = card()
    follow(chip, "S13")
    assert present(chip) and writable(chip)
    chip = card()
    follow(chip, "S1S123e")
    assert chip.verified and chip.read(READ_SECURITY, 0)[0] == 7


def test_wrong_passwords_three_times_kill_the_card_for_ever():
    chip = card()
    for left in (2, 1, 0):
        assert not present(chip, b"\x47\xd5\x86")
        assert tries_left(chip.read(READ_SECURITY, 0)[0]) == left
        assert chip.dead == (left == 0)
        chip.power_on()
    before = chip.dump()
    for _ in range(4):
        assert not present(chip)
        assert not writable(chip)
        chip.command(UPDATE_SECURITY, 0, 7)
        chip.command(WRITE_PROTECTION, 8, chip.main[8])
        assert chip.power_on() == ATR
    assert chip.dead and chip.dump() == before
    assert chip.read(READ_MAIN, 0) == before[:256]
    assert chip.read(READ_SECURITY, 0) == b"\0\0\0\0"


def test_pulled_three_times_after_spending_kills_the_card():
    chip = card()
    for _ in range(3):
        spend(chip)
        chip.power_on()
    assert chip.dead and not present(chip)


def test_pulled_before_the_erase_leaves_the_try_spent_until_a_later_success():
    chip = card()
    follow(chip, "S1230")
    assert tries_left(chip.read(READ_SECURITY, 0)[0]) == 2
    assert present(chip)
    assert tries_left(chip.read(READ_SECURITY, 0)[0]) == 3


def test_the_last_try_still_opens_with_the_right_password():
    chip = card()
    for _ in range(2):
        spend(chip)
        chip.power_on()
    assert tries_left(chip.read(READ_SECURITY, 0)[0]) == 1
    assert present(chip) and not chip.dead and writable(chip)


def test_pulled_between_plan_and_store_spends_nothing():
    chip = card()
    assert chip.plan(UPDATE_SECURITY, 0, 3) == (2, 0, 3)
    chip.power_on()
    assert chip.read(READ_SECURITY, 0)[0] == 7
    for i in range(3):
        chip.command(COMPARE, i + 1, PSC[i])
    assert not chip.verified


def test_plan_stores_nothing_and_store_does_what_was_planned():
    chip = unlocked()
    before = chip.dump()
    plan = chip.plan(UPDATE_MAIN, 0x80, 0x12)
    assert chip.dump() == before and chip.value(plan) == before[0x80]
    chip.store(plan)
    assert chip.read(READ_MAIN, 0x80)[0] == 0x12 and chip.value(plan) == 0x12


def test_protection_bit_guards_its_byte_and_no_other():
    chip = unlocked()
    chip.command(UPDATE_MAIN, 8, 0x69)
    chip.command(WRITE_PROTECTION, 8, 0x69)
    assert chip.read(READ_PROTECTION, 0) == b"\xf0\xfe\xff\xff"
    chip.command(UPDATE_MAIN, 8, 0x00)
    chip.command(UPDATE_MAIN, 9, 0x01)
    assert chip.read(READ_MAIN, 8)[:2] == b"\x69\x01"


def test_protection_needs_equal_data():
    chip = unlocked()
    for data in range(256):
        if data != chip.main[8]:
            chip.command(WRITE_PROTECTION, 8, data)
    assert chip.read(READ_PROTECTION, 0) == b"\xf0\xff\xff\xff"


def test_protection_is_one_way_and_outlives_power():
    chip = unlocked()
    chip.command(UPDATE_MAIN, 31, 0x55)
    chip.command(WRITE_PROTECTION, 31, 0x55)
    chip.command(WRITE_PROTECTION, 31, 0x55)
    chip.power_on()
    assert present(chip)
    chip.command(UPDATE_MAIN, 31, 0xFF)
    assert chip.read(READ_PROTECTION, 0) == b"\xf0\xff\xff\x7f" and chip.read(READ_MAIN, 31)[0] == 0x55


def test_protection_exists_only_for_bytes_0_to_31():
    chip = unlocked()
    before = chip.dump()
    for address in range(32, 256):
        chip.command(WRITE_PROTECTION, address, chip.main[address])
    assert chip.dump() == before


def test_answer_to_reset_cannot_be_changed():
    chip = unlocked()
    for address in range(4):
        chip.command(UPDATE_MAIN, address, 0)
    assert chip.power_on() == ATR


def test_password_can_be_changed_after_verification_only():
    chip = unlocked()
    for i in range(3):
        chip.command(UPDATE_SECURITY, i + 1, b"new"[i])
    chip.power_on()
    assert not present(chip)
    chip.power_on()
    assert present(chip, b"new")
    assert chip.read(READ_SECURITY, 0) == b"\x07new"


def test_every_byte_outside_the_protected_can_hold_every_value():
    chip = unlocked()
    for value in range(256):
        chip.command(UPDATE_MAIN, 0x20, value)
        chip.command(UPDATE_MAIN, 0xFF, 255 - value)
        assert chip.read(READ_MAIN, 0x20)[0] == value and chip.read(READ_MAIN, 0xFF)[0] == 255 - value


def test_clocks_tell_erase_and_write_from_either_alone():
    chip = unlocked()
    assert chip.command(UPDATE_MAIN, 0x80, 0x0F) == 150  # FF to 0F: bits only fall, a write
    assert chip.command(UPDATE_MAIN, 0x80, 0xF0) == 281  # bits rise and fall
    assert chip.command(UPDATE_MAIN, 0x80, 0xF1) == 281  # one bit rises: erased, written again
    assert chip.command(UPDATE_MAIN, 0x80, 0xFF) == 150  # all rise: an erase
    assert chip.command(UPDATE_MAIN, 0, 0) == 28  # protected
    assert chip.command(COMPARE, 1, 0) == 28
    assert chip.command(WRITE_PROTECTION, 0x08, chip.main[8]) == 150


def test_milliseconds_round_up():
    assert [milliseconds(clocks) for clocks in (0, 1, 50, 51, 281)] == [0, 1, 1, 2, 6]


def test_dump_and_restore_are_the_same_card_without_access():
    chip = unlocked()
    chip.command(UPDATE_MAIN, 0x80, 1)
    chip.command(WRITE_PROTECTION, 8, chip.main[8])
    dump = chip.dump()
    assert len(dump) == 264
    other = Chip()
    other.restore(dump)
    assert other.dump() == dump and not other.verified and not writable(other)
    assert present(other)


def test_restore_from_256_bytes_has_the_makers_password():
    chip = Chip()
    chip.restore(b"\xa2\x13\x10\x91" + bytes(252))
    assert chip.read(READ_MAIN, 4) == bytes(252)
    assert present(chip, b"\xff\xff\xff")


def test_restore_refuses_any_other_size():
    for size in (0, 255, 257, 263, 265):
        chip = Chip()
        try:
            chip.restore(bytes(size))
        except ValueError:
            assert chip.dump() == Chip().dump()
        else:
            assert False, size  # noqa: B011
