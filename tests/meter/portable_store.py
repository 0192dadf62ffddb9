# The store against power cuts: every byte of every write, clean and torn, and again while it recovers.

from gascard.crc import crc16
from gasrig.parts import Eeprom, Fram
from meter.factory import create_pair, create_register
from meter.hot import COUNT, make_pulse, make_pulses
from meter.layouts import ACCOUNT, ACCOUNT_AT, CHECKPOINT, CHECKPOINT_AT, COPY_SIZE, STATE, STATE_AT, TALLY_AT
from meter.store import MARKERS, Pair, Register, StoreFault, newer, read_small, write_checked, write_small

OLD, NEW = "old", "new"
GARBAGE = (0x00, 0xFF, 0xA5, 0x5A, OLD, NEW)  # what a torn write leaves behind: a byte, or what was or was to be there
CLEAN = "clean"  # the power goes between two bytes


class PowerCut(BaseException):
    """Not an Exception: the firmware must not catch it."""


class Fuse:
    """When the power goes: before the write of byte ``left``. ``fired`` says whether it did."""

    def __init__(self, left=-1, torn=CLEAN):
        self.left = left
        self.torn = torn
        self.fired = False
        self.burnt = 0  # bytes written while the power was there


def cut_memory(base):
    """A memory of class ``base`` that dies with its fuse; an EEPROM garbles its page, an FRAM the rest of the write."""

    class Cut(base):
        def __init__(self, size, fuse=None):
            super().__init__(size)
            self.fuse = fuse or Fuse()
            self.trace = None

        def write(self, address, data):
            fuse = self.fuse
            if self.trace is not None:
                self.trace.append((address, bytes(data)))
            if fuse.left < 0 or fuse.left >= len(data):
                if fuse.left >= 0:
                    fuse.left -= len(data)
                fuse.burnt += len(data)
                super().write(address, data)
                return
            done = fuse.left
            fuse.fired = True
            fuse.left = -1
            if fuse.torn == CLEAN:
                super().write(address, data[:done])
                raise PowerCut
            if base is Eeprom:
                page = address - address % 64
                old = bytes(self.cells[page : page + 64])
                super().write(address, data)
                garbled = garble(fuse.torn, old, bytes(self.cells[page : page + 64]))
                self.cells[page : page + 64] = garbled
            else:
                old = bytes(self.cells[address + done : address + len(data)])
                super().write(address, data[:done])
                rest = garble(fuse.torn, old, bytes(data[done:]))
                self.cells[address + done : address + len(data)] = rest
            raise PowerCut

        def put(self, address, value):
            self.write(address, bytes((value,)))

    return Cut


def garble(torn, old, new):
    if torn == OLD:
        return old
    if torn == NEW:
        return new
    return bytes((torn,)) * len(old)


CutFram = cut_memory(Fram)
CutEeprom = cut_memory(Eeprom)


def tally(memory, lanes, length, generation, base, count):
    """A register in the middle of its life."""
    marker = MARKERS[generation & 1]
    other = MARKERS[1 - (generation & 1)]
    for n in range(lanes * length):
        place = (n & 3) * length + (n >> 2) if lanes == 4 else n
        memory.cells[TALLY_AT + place] = marker if n < count else other
    write_small(memory, CHECKPOINT_AT[generation & 1], CHECKPOINT, {"generation": generation, "base": base})
    before = {"generation": (generation - 1) & 0xFFFF, "base": base - lanes * length}
    write_small(memory, CHECKPOINT_AT[1 - (generation & 1)], CHECKPOINT, before)


def counting(memory, lanes, length):
    """(register, pulse, pulses) after recovery, as the meter wires them."""
    register = Register(memory, lanes, length)
    assert register.recover()

    def reached():
        if register.cells[COUNT] >= register.capacity:
            register.checkpoint()
        register.stop_after(1000000)

    register.stop_after(1000000)
    pulse = make_pulse(register.cells, memory, reached)
    return register, pulse, make_pulses(register.cells, memory, reached)


def recovered(memory, lanes, length):
    register = Register(memory, lanes, length)
    return register.value if register.recover() else None


def second_cuts(writes):
    # Every byte of a short recovery; of a long one (a page scrubbed byte by byte) the ends and the middle.
    return range(writes) if writes <= 10 else (0, 1, 2, writes // 2, writes - 2, writes - 1)


def brute(kind, lanes, length, generation, start, pulses, torns=GARBAGE, batch=1, deep=True, fresh=False):
    """Count ``pulses`` on, cut at each byte, recover, cut that too. (cuts that fired, list of wrong outcomes)."""
    size = TALLY_AT + lanes * length
    base = 1000
    made = kind(size)
    tally(made, lanes, length, generation, base, start)
    if fresh:
        for i in range(8):
            made.cells[CHECKPOINT_AT[1 - (generation & 1)] + i] = 0
    image = bytes(made.cells)
    fired = 0
    wrong = []
    for torn in (CLEAN,) + tuple(torns):
        at = 0
        while True:
            memory = kind(size, Fuse())
            memory.cells[:] = image
            register, pulse, many = counting(memory, lanes, length)
            fuse = memory.fuse = Fuse(at, torn)
            told = base + start
            try:
                while told < base + start + pulses:
                    told += batch
                    if batch == 1:
                        pulse()
                    else:
                        many(batch)
            except PowerCut:
                pass
            if not fuse.fired:
                break
            fired += 1
            least, most = told - batch, told  # the pulses in flight, and no other, may be missing
            if register.cells[COUNT] == register.capacity:
                least = told if batch == 1 else told - batch  # all of them stood in the tally before its checkpoint
            torn_image = bytes(memory.cells)
            memory.fuse = Fuse()
            once = recovered(memory, lanes, length)
            if once is None or not least <= once <= most:
                wrong.append((torn, at, None, None, least, once))
            if deep and once is not None:
                for torn2 in (CLEAN,) + tuple(torns):
                    for at2 in second_cuts(memory.fuse.burnt):
                        memory.cells[:] = torn_image
                        memory.fuse = Fuse(at2, torn2)
                        try:
                            recovered(memory, lanes, length)
                        except PowerCut:
                            fired += 1
                        memory.fuse = Fuse()
                        twice = recovered(memory, lanes, length)
                        if twice is None or not least <= twice <= most:
                            wrong.append((torn, at, torn2, at2, least, twice))
            at += 1
    return fired, wrong


# --- register


def test_register_survives_cuts_on_one_lane():
    for generation in (0, 1, 0xFFFF):
        for start, pulses in ((0, 3), (61, 6)):  # at the head, and over a checkpoint
            fired, wrong = brute(CutFram, 1, 64, generation, start, pulses)
            assert fired >= 20 and not wrong, (generation, start, wrong[:3])


def test_register_survives_cuts_on_four_lanes_where_a_page_is_garbled():
    for start, pulses in ((0, 2), (254, 3)):
        fired, wrong = brute(CutEeprom, 4, 64, 0xFFFF, start, pulses, torns=(0xFF, 0xA5))
        assert fired >= 20 and not wrong, (start, wrong[:3])


def test_register_one_lane_is_not_enough_where_a_page_is_garbled():
    # The same search finds the fault it is made to find.
    fired, wrong = brute(CutEeprom, 1, 64, 0, 30, 2, deep=False)
    assert fired and wrong
    assert max([abs(case[4] - (case[5] or 0)) for case in wrong]) > 1


def test_register_batch_loses_only_pulses_in_flight():
    fired, wrong = brute(CutFram, 1, 64, 7, 50, 24, batch=8, deep=False)
    assert fired > 100 and not wrong, wrong[:3]


def test_new_register_does_not_take_a_batch_whose_head_was_cut_off_for_a_full_tally():
    # The batch reaches the last place; what is not marked at its head is no pulse of a generation that never began.
    for head in range(1, 65):
        memory = CutFram(TALLY_AT + 64)
        create_register(memory, 64, 1000)
        for place in range(head, 64):
            memory.cells[TALLY_AT + place] = MARKERS[0]
        assert 1000 <= recovered(memory, 1, 64) <= 1064, head


def test_register_counts_on_after_recovery():
    for lanes in (1, 4):
        memory = CutFram(TALLY_AT + lanes * 64)
        create_register(memory, lanes * 64, 12345)
        total = 12345
        for step in (1, 63, 64, 65, 127, 3):
            register, pulse, many = counting(memory, lanes, 64)
            assert register.value == total and register.scrubbed == 0
            many(step - 1)
            pulse()
            total += step
            assert register.value == total
        assert recovered(memory, lanes, 64) == total


def test_register_stands_without_either_checkpoint():
    # A checkpoint that has become unreadable follows from the other and the tally.
    for lanes in (1, 4):
        capacity = lanes * 64
        for generation in (4, 5, 0, 0xFFFF):
            for count in (0, 1, 2, 3, 4, 20, capacity // 2, capacity - 4):
                for spoilt in (0, 1):
                    memory = CutFram(TALLY_AT + capacity)
                    tally(memory, lanes, 64, generation, 1000, count)
                    memory.cells[CHECKPOINT_AT[spoilt] + 4] ^= 1
                    case = (lanes, generation, count, spoilt)
                    assert recovered(memory, lanes, 64) == 1000 + count, case
                    assert recovered(memory, lanes, 64) == 1000 + count, case
                    register, pulse, many = counting(memory, lanes, 64)
                    many(capacity + 3)
                    assert recovered(memory, lanes, 64) == 1000 + count + capacity + 3, case


def test_nearly_full_tally_stands_without_either_checkpoint():
    # A tally that is full to the last place is closed at once; one short of it may be met at rest.
    for lanes in (1, 4):
        capacity = lanes * 64
        for left in range(1, 6):
            for spoilt in (0, 1):
                memory = CutFram(TALLY_AT + capacity)
                tally(memory, lanes, 64, 4, 1000, capacity - left)
                memory.cells[CHECKPOINT_AT[spoilt] + 4] ^= 1
                assert recovered(memory, lanes, 64) == 1000 + capacity - left, (lanes, left, spoilt)


def test_register_is_lost_without_both_checkpoints():
    memory = CutFram(TALLY_AT + 64)
    tally(memory, 1, 64, 4, 1000, 20)
    memory.cells[CHECKPOINT_AT[0]] ^= 1
    memory.cells[CHECKPOINT_AT[1]] ^= 1
    assert recovered(memory, 1, 64) is None


def test_new_register_survives_cuts_before_its_second_checkpoint():
    # The other slot holds nothing yet, so what the end of the tally says is believed: not from a torn page.
    for kind, lanes in ((CutFram, 1), (CutEeprom, 4)):
        for start in (0, 30, lanes * 64 - 5):
            fired, wrong = brute(kind, lanes, 64, 0, start, 8, torns=(0xA5, 0x5A, 0xFF), fresh=True)
            assert fired > 20 and not wrong, (lanes, start, wrong[:3])


def test_register_checkpoint_in_the_wrong_slot_is_none():
    memory = CutFram(TALLY_AT + 64)
    tally(memory, 1, 64, 4, 1000, 20)
    write_small(memory, CHECKPOINT_AT[1], CHECKPOINT, {"generation": 6, "base": 99999})
    assert recovered(memory, 1, 64) == 1020


def test_register_four_lanes_without_agreement_are_lost():
    memory = CutFram(TALLY_AT + 256)
    tally(memory, 4, 64, 0, 1000, 100)
    for lane in (0, 1):
        for place in range(64):
            memory.cells[TALLY_AT + lane * 64 + place] = 0
    assert recovered(memory, 4, 64) is None


def test_register_scrub_mends_every_place():
    # Whatever stands in one lane's page (in one place, where one lane is all there is): the tally is whole again.
    fills = (0x00, 0x77, 0xA5, 0x5A)
    mended = 0
    for count in (0, 1, 40, 100, 255, 256):
        for fill in fills:
            memory = CutFram(TALLY_AT + 256)
            tally(memory, 4, 64, 0, 1000, count)
            image = bytes(memory.cells)
            for i in range(64):
                memory.cells[TALLY_AT + 64 + i] = fill
            register = Register(memory, 4, 64)
            assert register.recover()
            assert 1000 + count <= register.value <= 1001 + count
            mended += register.scrubbed
            if register.value == 1000 + count < 1256:
                assert bytes(memory.cells) == image, (count, fill)
    assert mended > 500
    for place in (41, 63):
        memory = CutFram(TALLY_AT + 64)
        tally(memory, 1, 64, 0, 1000, 40)
        image = bytes(memory.cells)
        memory.cells[TALLY_AT + place] = 0x77
        register = Register(memory, 1, 64)
        assert register.recover() and register.value == 1040 and register.scrubbed == 1
        assert bytes(memory.cells) == image


# --- pairs


def entry(memory, places, layout):
    pair = Pair(memory, places, layout)
    return pair.values if pair.load() else None


def test_newer_is_modulo_two_to_the_sixteen():
    for a, b, answer in (
        (1, 0, True),
        (0, 1, False),
        (5, 5, False),
        (0, 0xFFFF, True),
        (0xFFFF, 0, False),
        (0x7FFF, 0, True),
        (0x8000, 0, False),
    ):
        assert newer(a, b) is answer, (a, b)


def test_pair_holds_old_or_new_at_every_byte():
    fired = 0
    for kind in (CutFram, CutEeprom):
        for number in (6, 0xFFFF):
            for both in (False, True):
                fresh = kind(0x200)
                create_pair(fresh, STATE_AT, STATE, {"entry": (number - 1) & 0xFFFF, "boots": 1})
                image = bytes(fresh.cells)
                for torn in (CLEAN,) + GARBAGE:
                    for at in range(COPY_SIZE * (2 if both else 1)):
                        memory = kind(0x200)
                        memory.cells[:] = image
                        pair = Pair(memory, STATE_AT, STATE)
                        assert pair.load() and pair.values["entry"] == number
                        pair.values["boots"] = 2
                        memory.fuse = Fuse(at, torn)
                        try:
                            pair.save(both)
                            raise ValueError("the fuse did not blow")
                        except PowerCut:
                            fired += 1
                        found = entry(memory, STATE_AT, STATE)
                        assert found is not None, (number, both, torn, at)
                        assert found["boots"] in (1, 2)
                        if at >= COPY_SIZE:
                            assert found["boots"] == 2  # the first of both copies is whole
                        # and the next save goes over the ruin, not over the copy that is good
                        pair = Pair(memory, STATE_AT, STATE)
                        pair.load()
                        boots = pair.values["boots"]
                        pair.values["boots"] = 3
                        memory.fuse = Fuse(30, 0x00)
                        try:
                            pair.save()
                        except PowerCut:
                            fired += 1
                        assert entry(memory, STATE_AT, STATE)["boots"] == boots
    assert fired == 2 * 2 * 2 * 7 * 3 * COPY_SIZE


def test_pair_saves_over_the_copy_that_is_not_the_newest_valid():
    for spoilt in (0, 1):
        memory = CutFram(0x200)
        create_pair(memory, STATE_AT, STATE, {"boots": 7})
        pair = Pair(memory, STATE_AT, STATE)
        pair.load()
        pair.save()
        memory.cells[STATE_AT[spoilt] + 9] ^= 0x40
        pair = Pair(memory, STATE_AT, STATE)
        assert pair.load() and pair.values["boots"] == 7
        memory.trace = []
        for place in (spoilt, 1 - spoilt, spoilt):
            pair.save()
            assert memory.trace.pop()[0] == STATE_AT[place]


def test_pair_saves_both_copies_where_asked():
    memory = CutFram(0x200)
    create_pair(memory, ACCOUNT_AT, ACCOUNT, {"state": 3})
    pair = Pair(memory, ACCOUNT_AT, ACCOUNT)
    pair.load()
    pair.values["bought_total"] = 99
    pair.save(True)
    for lost in ACCOUNT_AT:
        copy = CutFram(0x200)
        copy.cells[:] = memory.cells
        copy.cells[lost] ^= 1
        assert entry(copy, ACCOUNT_AT, ACCOUNT)["bought_total"] == 99


def test_pair_with_both_copies_unreadable_is_lost():
    memory = CutFram(0x200)
    create_pair(memory, ACCOUNT_AT, ACCOUNT, {"state": 3})
    for at in ACCOUNT_AT:
        memory.cells[at + 63] ^= 1
    pair = Pair(memory, ACCOUNT_AT, ACCOUNT)
    assert not pair.load() and not pair.values
    blank = CutFram(0x200)
    assert not Pair(blank, ACCOUNT_AT, ACCOUNT).load()
    for fill in (0, 0xFF):
        for i in range(0x200):
            blank.cells[i] = fill
        assert not Pair(blank, ACCOUNT_AT, ACCOUNT).load()


def test_pair_of_another_layout_version_is_unreadable():
    memory = CutFram(0x200)
    create_pair(memory, STATE_AT, STATE, {})
    pair = Pair(memory, STATE_AT, STATE)
    pair.load()
    pair.values["layout"] = 2
    pair.save(True)
    assert not Pair(memory, STATE_AT, STATE).load()


# --- writes


class Stubborn(Fram):
    """A memory that does not take the first ``faults`` writes: silently, or with an error before or after storing."""

    def __init__(self, size, faults, how):
        super().__init__(size)
        self.faults = faults
        self.how = how
        self.tries = 0

    def write(self, address, data):
        self.tries += 1
        if self.tries > self.faults:
            super().write(address, data)
        elif self.how == "raises":
            raise OSError(5)
        elif self.how == "stores and raises":
            super().write(address, data)
            raise OSError(5)


def test_write_is_repeated_a_bounded_number_of_times():
    for how in ("silent", "raises", "stores and raises"):
        for faults in range(5):
            memory = Stubborn(64, faults, how)
            try:
                write_checked(memory, 0, b"\x01\x02\x03")
                held = True
            except StoreFault:
                held = False
            assert held == (faults < 3), (how, faults)
            assert memory.tries == min(faults + 1, 3)


def test_small_record_is_whole_or_nothing():
    memory = CutFram(64)
    values = {"generation": 77, "base": 99999999}
    write_small(memory, 0, CHECKPOINT, values)
    read = read_small(memory, 0, CHECKPOINT)
    assert read["generation"] == 77 and read["base"] == 99999999
    assert crc16(memory.cells, 0, 6) == read["crc"]
    for bit in range(64):
        memory.cells[bit >> 3] ^= 1 << (bit & 7)
        assert read_small(memory, 0, CHECKPOINT) is None, bit
        memory.cells[bit >> 3] ^= 1 << (bit & 7)
    assert read_small(memory, 0, CHECKPOINT)


class Forgetful(Fram):
    """A memory that loses some single-byte writes without a word."""

    lost = ()
    forgotten = 0

    def put(self, address, value):
        if address - TALLY_AT in self.lost:
            self.forgotten += 1
            return
        super().put(address, value)


def forgetful(lost, told):
    """A register of 192 places on one lane that was told so many pulses and lost the writes at some places."""
    memory = Forgetful(TALLY_AT + 192)
    create_register(memory, 192, 1000)
    register, pulse, many = counting(memory, 1, 192)
    memory.lost = lost
    for _ in range(min(told, 192)):
        pulse()
    assert memory.forgotten == len([place for place in lost if place < told])
    memory.lost = ()
    for _ in range(told - 192):
        pulse()
    return memory


def test_register_bridges_lost_and_damaged_marks():
    for lost in ((0,), (20,), (20, 21, 40), (5, 90)):
        for told in (lost[-1] + 68, 190, 191):
            memory = forgetful(lost, told)
            assert recovered(memory, 1, 192) == 1000 + told, (lost, told)
    for place in range(192):
        for value in (0x00, 0xFF, MARKERS[1], MARKERS[0] ^ 1):
            memory = CutFram(TALLY_AT + 192)
            tally(memory, 1, 192, 4, 1000, 150)
            memory.cells[TALLY_AT + place] = value
            # Too near the head of the count a damaged mark cannot be told from one that was never whole.
            right = 1000 + (place if 150 - 68 < place < 150 else 150)
            assert recovered(memory, 1, 192) == right, (place, value)
            assert recovered(memory, 1, 192) == right, (place, value)


def test_register_lost_writes_are_no_marks_of_the_next_generation():
    # The place still bears the marker that the next generation will write: it must not count as one of its pulses.
    for lost in ((0,), (150,), (100, 191), (64, 65, 66), tuple(range(74, 82)), tuple(range(100, 164))):
        for told in range(192, 386):
            memory = forgetful(lost, told)
            assert recovered(memory, 1, 192) == 1000 + told, (lost, told)
