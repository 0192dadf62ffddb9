"""meter.session: the order of a load, and every way to pull, swap or wear out a card in the middle of it."""

import pytest
from portable_judging import KEY, MINUTES, PSC, REGION, Stand, card
from portable_store import CLEAN, CutFram, Fuse, PowerCut

from gascard import codes, frames, keys
from gascard.chip import SECURITY, Chip
from gascard.records import (
    FLAG_PARAMETERS,
    FLAG_REFUND,
    ORDER_OPENING,
    REPORT_AT,
    REPORT_DATA,
    REPORT_NUMBER_MAX,
)
from gascard.sle4442 import COMPARE, UPDATE_MAIN, UPDATE_SECURITY
from gasrig.parts import CardSlot
from meter import meter as core
from meter.account import Account
from meter.layouts import ACCOUNT_AT, BOUND, KEYS, KEYS_AT, STATE, STATE_AT
from meter.store import Pair

SIZE = frames.frame_size(REPORT_DATA)
REPORT_KEY = keys.derive(KEY, b"report")


def opening(**changed):
    return card(kind=ORDER_OPENING, sequence=1, bought_total=5000, **changed)


def flow_of(name):
    """(stand, card, remaining after the card has been served)."""
    if name == "opening":
        return Stand(bound=False), opening(), 5000
    stand = Stand()
    if name == "purchase":
        return stand, card(), 5900
    if name == "refund":
        return stand, card(bought_total=3000, flags=FLAG_REFUND), 2900
    return stand, stand.chip, 4900


FLOWS = ("opening", "purchase", "repeat", "refund")


def reports(chip):
    """The reports on a card: values, or None where none is whole and authentic."""
    found = []
    for at in REPORT_AT:
        whole = frames.check(chip.main, at, SIZE - 15) == codes.OK
        if whole and frames.mac_right(chip.main, at, SIZE - 15, 77, REGION, REPORT_KEY):
            found.append(frames.read(REPORT_DATA, chip.main, at))
        else:
            found.append(None)
    return found


def clone(chip):
    copy = Chip()
    copy.restore(chip.dump())
    return copy


class Tape:
    """Where the calls of all parts are written down in their order."""

    def __init__(self, stand):
        self.calls = []
        tape = self.calls

        def spy(part, method, name):
            real = getattr(part, method)

            def spied(*arguments):
                tape.append((name, *arguments))
                return real(*arguments)

            setattr(part, method, spied)

        spy(stand.memory, "write", "memory")
        spy(stand.key_memory, "write", "keys")
        spy(stand.slot, "write", "slot")
        spy(stand.motor, "drive", "motor")

    def places(self, test):
        return [i for i, call in enumerate(self.calls) if test(call)]


def is_at(call, name, places):
    return call[0] == name and any(place <= call[1] < place + 64 for place in places)


@pytest.mark.parametrize("flow", FLOWS)
def test_order_of_a_load(flow):
    stand, chip, remaining = flow_of(flow)
    stand.pass_time(120000)
    stand.motor.drive(-1)
    stand.motor.advance(99999)
    stand.meter.valve.state = 0  # at rest and shut, so that the load has something to open
    tape = Tape(stand)
    assert stand.visit(chip) == (codes.REPEAT if flow == "repeat" else codes.OK)
    compares = tape.places(lambda call: call[0] == "slot" and call[1] == COMPARE)
    restored = tape.places(lambda call: call[0] == "slot" and call[1] == UPDATE_SECURITY)[-1]
    key = tape.places(lambda call: call[0] == "keys")
    account = tape.places(lambda call: is_at(call, "memory", ACCOUNT_AT))
    valve = tape.places(lambda call: call == ("motor", 1))
    numbered = tape.places(lambda call: is_at(call, "memory", STATE_AT))
    report = tape.places(lambda call: call[0] == "slot" and call[1] == UPDATE_MAIN)
    assert len(compares) == 3 and max(compares) < restored
    assert len(key) == (2 if flow == "opening" else 0)
    assert len(account) == {"opening": 2, "purchase": 1, "repeat": 0, "refund": 2}[flow]
    steps = [*compares, restored, *key, *account, valve[0]]
    assert steps == sorted(steps)
    before = [at for at in numbered if at < report[0]]
    assert before and max([*account, 0]) < before[-1]
    # The figure in the store is the one on the card.
    state = Pair(stand.memory, STATE_AT, STATE)
    state.load()
    newest = max(reports(chip), key=lambda one: one["report_number"] if one else -1)
    assert newest["report_number"] == state.values["report_number"]
    assert stand.meter.remaining == remaining
    # One report place, and nothing else, was written.
    addresses = [tape.calls[at][2] for at in report]
    at = REPORT_AT[reports(chip).index(newest)]
    assert all(at <= address < at + SIZE for address in addresses)
    assert addresses == sorted(set(addresses))


def test_only_report_places_are_written_in_many_visits():
    stand, chip, _ = flow_of("opening")
    first = bytes(chip.main)
    written = set()
    for visit in range(12):
        before = bytes(chip.main)
        assert stand.visit(chip) in (codes.OK, codes.REPEAT)
        changed = {i for i in range(256) if before[i] != chip.main[i]}
        place = REPORT_AT[visit % 2]  # in turn
        assert changed and changed <= set(range(place, place + SIZE))
        written |= changed
        found = reports(chip)
        assert found[visit % 2]["report_number"] == visit + 1
        if visit:
            assert found[1 - visit % 2]["report_number"] == visit
        stand.meter.pulses(3)
    assert first[:0x5B] == bytes(chip.main[:0x5B]) and first[0xEF:] == bytes(chip.main[0xEF:])


class DyingSlot(CardSlot):
    """The card is pulled at command ``left``; a byte that is being written becomes ``torn``."""

    left = -1
    torn = None
    fired = False

    def _dies(self):
        if self.left < 0 or self.chip is None:
            return False
        self.left -= 1
        if self.left >= 0:
            return False
        self.fired = True
        return True

    def power_on(self):
        if self._dies():
            self.remove()
        return super().power_on()

    def read(self, control, address, buffer):
        if self._dies():
            # The first half came through, the rest is the empty line.
            half = bytearray(buffer)
            super().read(control, address, half)
            self.remove()
            super().read(control, address, buffer)
            buffer[: len(buffer) // 2] = half[: len(buffer) // 2]
            return
        super().read(control, address, buffer)

    def write(self, control, address, data):
        if self._dies():
            plan = self.chip.plan(control, address, data)
            if plan and self.torn is not None:
                value = {"new": plan[2], "erased": 0xFF, "zero": 0}[self.torn]
                value &= 7 if plan[0] == SECURITY else 0xFF  # all bits the error counter has
                self.chip.store((plan[0], plan[1], value))
            self.remove()
            self.compares += control == COMPARE
            return
        super().write(control, address, data)


def pulled_visit(stand, chip, left, torn):
    """A visit that ends with the card pulled at command ``left``: (whether it was, the meter's answer)."""
    slot = stand.slot
    slot.insert(chip)
    slot.left, slot.torn, slot.fired = left, torn, False
    stand.meter.card_in()
    while stand.meter.session.active and slot.chip is not None:
        stand.meter.tick(5)
    slot.left = -1
    slot.remove()
    stand.meter.card_out()
    assert not stand.meter.session.active
    return slot.fired, stand.meter.last_code


def dying(flow):
    stand, chip, remaining = flow_of(flow)
    slot = DyingSlot()
    stand.slot = slot
    stand.meter.session._slot = slot
    return stand, chip, remaining


@pytest.mark.parametrize("flow", FLOWS)
@pytest.mark.parametrize("torn", [None, "new", "erased", "zero"])
def test_pulled_at_every_command_converges(flow, torn):
    pulled = 0
    for left in range(200):
        stand, chip, remaining = dying(flow)
        had = [one for one in reports(chip) if one]
        fired, code = pulled_visit(stand, chip, left, torn)
        if not fired:
            break
        pulled += 1
        if torn in ("erased", "zero") and chip.security[0] == 0:
            # Torn inside its own error counter this chip is dead; it can be read for ever, and gas is credited.
            assert stand.visit(chip) == codes.REPORT_NOT_WRITTEN
            assert stand.meter.remaining == remaining
            continue
        assert code != codes.OK or stand.meter.remaining == remaining
        left_on_card = [one for one in reports(chip) if one]
        assert len(left_on_card) >= min(1, len(had)), left
        assert not had or had[0] in left_on_card  # the newest from before is still there
        again = stand.visit(chip)
        assert again in (codes.OK, codes.REPEAT), (left, again)
        assert stand.meter.remaining == remaining, left
        newest = max(reports(chip), key=lambda one: one["report_number"] if one else -1)
        assert newest["bought_total"] - newest["used"] - newest["correction_total"] == remaining
        assert chip.security[0] == 7
    assert pulled > 30


@pytest.mark.parametrize("flow", FLOWS)
def test_pulled_twice_converges(flow):
    pulled = 0
    for first in range(0, 90, 3):
        for second in (1, 2, 3, 5, 7, 9, 12, 30):
            stand, chip, remaining = dying(flow)
            fired, _ = pulled_visit(stand, chip, first, "erased" if first > 12 else None)
            again, _ = pulled_visit(stand, chip, second, "new")
            pulled += fired + again
            assert stand.visit(chip) in (codes.OK, codes.REPEAT, codes.REPORT_NOT_WRITTEN)
            assert stand.meter.remaining == remaining, (first, second)
    assert pulled > 200


@pytest.mark.parametrize("powered", [False, True])
@pytest.mark.parametrize("flow", ["opening", "purchase", "repeat"])
def test_swapped_at_every_command_writes_nothing_on_the_other_card(flow, powered):
    # The switch did not notice; with ``powered`` even the contacts held.
    swapped = 0
    for left in range(1, 200):
        stand, chip, remaining = flow_of(flow)
        other = card(number=99, bought_total=9999)
        other.security[1:4] = b"own"
        image = other.dump()
        count = [0]

        def swap(real, stand=stand, other=other, count=count, left=left):
            def spied(*arguments):
                if count[0] == left:
                    stand.slot.chip.power_off()
                    stand.slot.chip = other
                    if powered:
                        other.power_on()
                    else:
                        stand.slot.powered = False
                count[0] += 1
                return real(*arguments)

            return spied

        stand.slot.write = swap(stand.slot.write)
        stand.slot.read = swap(stand.slot.read)
        stand.slot.insert(chip)
        stand.meter.card_in()
        while stand.meter.session.active:
            stand.meter.tick(5)
        fired = count[0] > left
        stand.slot.remove()
        stand.meter.card_out()
        if not fired:
            break
        swapped += 1
        assert other.dump()[:260] == image[:260], left
        assert stand.meter.remaining in (remaining, 0 if flow == "opening" else 4900)
        if stand.meter.last_code in (codes.PASSWORD_REFUSED,):
            continue  # the rule: to the hall, nothing was credited
        del stand.slot.write, stand.slot.read
        assert stand.visit(chip) in (codes.OK, codes.REPEAT), left
        assert stand.meter.remaining == remaining
    assert swapped > 30


def test_card_in_again_without_card_out_forgets_the_report_it_was_writing():
    for reached in (0, 1, 5, 20):
        stand, chip, remaining = flow_of("purchase")
        stand.slot.insert(chip)
        stand.meter.card_in()
        for _ in range(reached):
            stand.meter.tick(5)
        assert stand.meter.session.active
        stand.slot.remove()
        stranger = card(number=99, meter="00000000000099")
        image = stranger.dump()
        stand.slot.insert(stranger)
        assert stand.meter.card_in() == codes.METER
        assert not stand.meter.session.active and not stand.slot.powered
        stand.settle()
        assert stranger.dump() == image
        assert stand.meter.last_code == codes.METER
        stand.slot.remove()
        assert stand.visit(chip) == codes.REPEAT and stand.meter.remaining == remaining


@pytest.mark.parametrize("counter", [0, 1, 2, 4])
@pytest.mark.parametrize("flow", ["opening", "purchase", "refund"])
def test_last_try_is_never_spent(flow, counter):
    stand, chip, remaining = flow_of(flow)
    chip.security[0] = counter
    image = chip.dump()
    for code in (codes.REPORT_NOT_WRITTEN, codes.REPORT_NOT_WRITTEN):
        assert stand.visit(chip) == code
        assert stand.meter.remaining == remaining
        assert stand.slot.compares == 0 and chip.dump() == image


@pytest.mark.parametrize("counter", [3, 5, 6, 7])
def test_password_puts_the_error_counter_right(counter):
    stand, chip, remaining = flow_of("purchase")
    chip.security[0] = counter
    assert stand.visit(chip) == codes.OK
    assert chip.security[0] == 7 and stand.slot.compares == 3 and stand.meter.remaining == remaining


@pytest.mark.parametrize("flow", ["opening", "purchase", "refund"])
@pytest.mark.parametrize("wrong", [0, 1, 2])
def test_password_refused_gives_nothing_and_bars_the_card(flow, wrong):
    stand, chip, remaining = flow_of(flow)
    before = stand.meter.remaining
    stored = stand.dump()
    chip.security[1 + wrong] ^= 1
    main = bytes(chip.main)
    assert stand.visit(chip) == codes.PASSWORD_REFUSED
    assert stand.meter.remaining == before and bytes(chip.main) == main
    assert chip.security[0] == 6
    assert stand.meter.valve.state in (0, 2)
    account = stand.dump()[0x80:0x100]
    assert account == stored[0x80:0x100] and stand.dump()[-128:] == stored[-128:]
    for restart in (False, True, True):
        if restart:
            assert stand.boot() == codes.OK
        assert stand.visit(chip) == codes.CARD_BARRED
        assert stand.slot.compares == 0 and chip.security[0] == 6
        assert stand.meter.remaining == before
    # Its counter at 7 and the password still wrong: one try, and barred again.
    chip.security[0] = 7
    assert stand.visit(chip) == codes.PASSWORD_REFUSED and stand.slot.compares == 3
    assert stand.visit(chip) == codes.CARD_BARRED and stand.slot.compares == 0
    # Put right by the hall.
    chip.security[:] = b"\x07" + PSC
    assert stand.visit(chip) == codes.OK
    assert stand.meter.remaining == remaining
    chip.security[0] = 6
    assert stand.visit(chip) == codes.REPEAT  # and forgotten


def test_barred_card_does_not_bar_another():
    stand, chip, _ = flow_of("purchase")
    chip.security[1] ^= 1
    assert stand.visit(chip) == codes.PASSWORD_REFUSED
    assert stand.visit(card(number=78)) == codes.OK
    assert stand.meter.remaining == 5900


@pytest.mark.parametrize("spoilt", [0, 1])
@pytest.mark.parametrize("visits", [2, 3])
def test_torn_report_is_written_over_and_the_other_stays(spoilt, visits):
    stand, chip, _ = flow_of("opening")
    for _ in range(visits):
        stand.visit(chip)
    for at in range(0, SIZE, 7):
        copy = clone(chip)
        copy.main[REPORT_AT[spoilt] + at] ^= 0x20
        kept = bytes(copy.main[REPORT_AT[1 - spoilt] : REPORT_AT[1 - spoilt] + SIZE])
        assert stand.visit(copy) == codes.REPEAT
        assert bytes(copy.main[REPORT_AT[1 - spoilt] : REPORT_AT[1 - spoilt] + SIZE]) == kept
        assert None not in reports(copy)


def test_report_numbers_end():
    stand, chip, remaining = flow_of("purchase")
    stand.meter.state.values["report_number"] = REPORT_NUMBER_MAX - 1
    assert stand.visit(chip) == codes.OK
    assert max(one["report_number"] for one in reports(chip) if one) == REPORT_NUMBER_MAX
    image = bytes(chip.main)
    later = clone(chip)
    later.main[0x20:0x5B] = card(sequence=5, bought_total=6500).main[0x20:0x5B]
    before = bytes(later.main)
    assert stand.visit(later) == codes.REPORT_NOT_WRITTEN
    assert stand.meter.remaining == remaining + 500
    assert bytes(later.main) == before and bytes(chip.main) == image
    assert stand.meter.state.values["report_number"] == REPORT_NUMBER_MAX


def test_report_number_is_never_used_twice():
    # The power goes somewhere in the report; its number is spent.
    seen = {}
    stand, chip, _ = flow_of("purchase")
    for cut in range(50, 100):
        stand.slot.insert(chip)
        stand.meter.card_in()
        for _ in range(cut):
            stand.meter.tick(5)
        stand.slot.remove()
        for one in reports(chip):
            if one:
                number = one["report_number"]
                assert seen.setdefault(number, one) == one
        stand.boot()
    assert len(seen) > 3


# --- the power goes


def power_cut(flow, at, torn):
    """The flow on memories that die at byte ``at``; then power, and the same card again. None if nothing died."""
    stand, chip, remaining = flow_of(flow)
    fuse = Fuse(at, torn)
    cells, key_cells = bytes(stand.memory.cells), bytes(stand.key_memory.cells)
    stand.memory, stand.key_memory = CutFram(len(cells), fuse), CutFram(len(key_cells), fuse)
    stand.memory.cells[:], stand.key_memory.cells[:] = cells, key_cells
    stand.memory.fuse = stand.key_memory.fuse = Fuse()
    stand.boot()
    stand.memory.fuse = stand.key_memory.fuse = fuse
    try:
        stand.visit(chip)
    except PowerCut:
        stand.slot.remove()
    if not fuse.fired:
        return None
    stand.memory.fuse = stand.key_memory.fuse = Fuse()
    stand.motor.drive(0)
    return stand, chip, remaining


def records(stand):
    account = Account(stand.memory)
    key = Pair(stand.key_memory, KEYS_AT, KEYS)
    assert account.load() and key.load()
    return account.values, key.values


TORN = (CLEAN, 0x00, 0xFF, 0xA5, "old", "new")


@pytest.mark.parametrize("flow", FLOWS)
def test_power_cut_at_every_byte_of_every_write(flow):
    cuts = 0
    for at in range(4000):
        kinds = (CLEAN, TORN[1 + at % 5])
        for torn in kinds:
            result = power_cut(flow, at, torn)
            if result is None:
                assert cuts > 200, cuts
                return
            cuts += 1
            stand, chip, remaining = result
            account, key = records(stand)
            assert key["binding"] >= account["binding"]  # raised there first
            if account["state"] == BOUND and flow == "opening":
                assert key["binding"] == account["binding"] == 1
            confirmed = [one for one in reports(chip) if one and one["sequence"] == 4]
            if flow == "refund" and confirmed:
                both_lowered(stand)
            assert stand.boot() == codes.OK
            assert stand.motor.position() != 1 or stand.meter.valve.state == 3  # nothing opens by itself
            code = stand.visit(chip)
            assert code in (codes.OK, codes.REPEAT), (at, torn, code)
            account, key = records(stand)
            assert account["binding"] == key["binding"] == 1
            assert stand.meter.remaining == remaining, (at, torn)
            assert stand.visit(chip) == codes.REPEAT
            assert stand.meter.remaining == remaining
    raise AssertionError("no end")


def both_lowered(stand):
    for lost in ACCOUNT_AT:
        cells = bytes(stand.memory.cells)
        stand.memory.cells[lost] ^= 1
        account, _ = records(stand)
        assert account["bought_total"] == 3000
        stand.memory.cells[:] = cells


@pytest.mark.parametrize("flow", ["opening", "purchase", "refund"])
def test_second_power_cut_while_starting_again(flow):
    cuts = 0
    for at in range(3, 400, 17):
        first = power_cut(flow, at, TORN[at % 6])
        if first is None:
            break
        cells, key_cells = bytes(first[0].memory.cells), bytes(first[0].key_memory.cells)
        dump = first[1].dump()
        for second in range(0, 100, 5):
            stand, chip, remaining = first
            stand.memory.cells[:], stand.key_memory.cells[:] = cells, key_cells
            chip.restore(dump)
            fuse = stand.memory.fuse = stand.key_memory.fuse = Fuse(second, TORN[second % 6])
            try:
                stand.boot()
            except PowerCut:
                cuts += 1
            if not fuse.fired:
                break
            stand.memory.fuse = stand.key_memory.fuse = Fuse()
            assert stand.boot() == codes.OK
            assert stand.visit(chip) in (codes.OK, codes.REPEAT)
            assert stand.meter.remaining == remaining, (at, second)
    assert cuts > 100


def test_old_opening_order_never_rebinds():
    stand, chip, _ = flow_of("opening")
    old = clone(chip)
    assert stand.visit(chip) == codes.OK
    stand.meter.pulses(1000)
    for restart in (False, True):
        if restart:
            stand.boot()
        assert stand.visit(clone(old)) == codes.REPEAT
        assert stand.meter.remaining == 4000
    assert stand.visit(card()) == codes.OK
    assert stand.visit(clone(old)) == codes.OLDER
    # A meter cleared, as a later issue will do it: the binding stays, the order is of a life before.
    stand.meter.account.values["state"] = 2
    for binding in (1, 2):
        stand.meter.account.values["binding"] = binding
        assert stand.visit(clone(old)) == codes.BINDING


@pytest.mark.parametrize("spoilt", ACCOUNT_AT)
def test_opening_survives_the_loss_of_one_copy(spoilt):
    stand, chip, _ = flow_of("opening")
    old = clone(chip)
    assert stand.visit(chip) == codes.OK
    stand.meter.pulses(1000)
    stand.memory.cells[spoilt + 5] ^= 1
    assert stand.boot() == codes.OK
    assert stand.visit(clone(old)) == codes.REPEAT
    assert stand.meter.remaining == 4000


def test_opening_that_died_between_key_record_and_account_binds_with_the_same_number():
    stand, chip, _ = flow_of("opening")
    stand.meter.keys.values["binding"] = 1
    stand.meter.keys.save()
    stand.boot()
    account, key = records(stand)
    assert (account["binding"], key["binding"], account["state"]) == (0, 1, 2)
    assert stand.visit(card(kind=ORDER_OPENING, sequence=1, binding=2)) == codes.BINDING
    assert stand.visit(chip) == codes.OK
    assert stand.meter.remaining == 5000 and stand.meter.account.values["binding"] == 1


@pytest.mark.parametrize("broken, after", [("key_memory", 0), *(("memory", after) for after in range(6))])
def test_store_that_takes_no_more_writes_latches_a_fault(broken, after):
    stand, chip, _ = flow_of("opening")
    stand.meter.pulses(10)
    memory = getattr(stand, broken)
    real = memory.write
    left = [after]

    def refuse(address, data):
        left[0] -= 1
        if left[0] < 0:
            raise OSError(5)
        real(address, data)

    memory.write = refuse
    stand.visit(chip)
    stand.meter.key()
    assert left[0] < 0
    stand.pass_time(300000)
    stand.meter.power_failing()
    stand.pass_time(5000)
    assert stand.meter.reasons & core.SHUT_FAULT
    assert stand.motor.position() == -1
    assert stand.visit(chip) == codes.FAULT
    # Replay is harmless: a new start over a memory that works again.
    memory.write = real
    assert stand.boot() == codes.OK
    assert stand.visit(chip) in (codes.OK, codes.REPEAT)
    assert stand.meter.remaining == 5000


def test_parameters_take_effect_with_the_order_that_brings_them():
    stand = Stand(bound=False)
    assert stand.visit(opening(alarm=500, overdraft=70, flags=FLAG_PARAMETERS)) == codes.OK
    values = stand.meter.account.values
    assert (values["alarm"], values["overdraft"], values["latest_time"]) == (500, 70, MINUTES)
    assert stand.visit(card(alarm=9, flags=0)) == codes.OK
    assert stand.meter.account.values["alarm"] == 500
