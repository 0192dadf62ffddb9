"""gasrig.hostile: the corpus on every target, and whether a broken promise would be seen at all."""

import hashlib
import hmac
import shutil
from pathlib import Path

import pytest

from gascard import codec, codes, frames, link, tools
from gascard.chip import DUMP_SIZE
from gascard.records import IDENTITY, IMAGE_SIZE, ORDER, ORDER_AT, REPORT_DATA, size_of
from gashall.signer import KeyFileSigner
from gasrig import fuzz, hostile
from gasrig.hostile import CountedMemory, Undocumented, feed, genuine, replay
from gasrig.targets import run_script, stage
from meter import judging, layouts, lockout, session, store

CORPUS = Path(__file__).parents[1] / "fuzz"
NAMES = list(hostile.DECODERS)

# On the VM, in bytes of heap. What a replay of the whole corpus may leave behind, once everything that is made only
# once is there; what one input may take, garbage and rig included; and the heap there is for it all.
# The 64-bit VM collects its garbage and shows the first; the 32-bit one collects none before a script ends, so that
# there the difference of two readings is all that was ever taken.
GROWN_MOST = 1024
TAKEN_MOST = {"codec": 16, "frames": 32, "judge": 48, "card": 400, "emulator": 250, "boot": 1000, "link": 400}  # KB
HEAP = 448 * 1024

REPLAY = """
import gc, sys
from gasrig import hostile

def pack(name):
    for folder in sys.path:
        try:
            with open(folder + "/" + name + ".pack", "rb") as file:
                return file.read()
        except OSError:
            pass

def replay():
    return [hostile.replay(name, pack(name)) for name in NAMES]

def collects():
    before = gc.mem_alloc()
    for _ in range(8):
        bytearray(1000)
    gc.collect()
    return gc.mem_alloc() < before + 8000

def most_taken(name):
    most = 0
    for data in hostile.unpacked(pack(name)):
        before = gc.mem_alloc()
        hostile.feed(name, data)
        most = max(most, gc.mem_alloc() - before)
    return most

first = replay()
gc.collect()
before = gc.mem_alloc()
same = first == replay()
gc.collect()
grown = gc.mem_alloc() - before
collecting = collects()
print(same, grown if collecting else 0)
for i in range(len(NAMES)):
    print(first[i][0], first[i][1], 0 if collecting else most_taken(NAMES[i]))
"""


def pack(name: str) -> bytes:
    return (CORPUS / f"{name}.pack").read_bytes()


NEWER = {"sequence": hostile.SEQUENCE + 1, "bought_total": hostile.BOUGHT + 700}


# ---------------------------------------------------------------------- the corpus, everywhere


@pytest.mark.parametrize("name", NAMES)
def test_corpus_of_a_decoder_has_documented_outcomes_only(name):
    count, _ = replay(name, pack(name))
    assert count >= 8


def test_corpus_on_a_vm_gives_the_same_results_in_a_bounded_heap(vm_name, tmp_path):
    stage(tmp_path)
    shutil.copyfile(hostile.__file__, tmp_path / "gasrig" / "hostile.py")
    for name in NAMES:
        (tmp_path / f"{name}.pack").write_bytes(pack(name))
    said = run_script(vm_name, f"NAMES = {NAMES!r}\n{REPLAY}", heap=HEAP, library=tmp_path).splitlines()
    same, grown = said[0].split()
    assert same == "True"
    assert int(grown) < GROWN_MOST
    for name, line in zip(NAMES, said[1:], strict=True):
        count, total, taken = map(int, line.split())
        assert (count, total) == replay(name, pack(name)), name
        assert taken < TAKEN_MOST[name] * 1024, name


def test_every_table_is_shown_to_the_codec():
    tables = {hostile.ORDER, IDENTITY, REPORT_DATA, layouts.ACCOUNT, layouts.STATE, layouts.KEYS, layouts.EVENT}
    assert tables <= set(hostile.LAYOUTS)
    assert {tools.TRANSFER, tools.MANAGEMENT, tools.SETTING, tools.KEY_BLOCK} <= set(hostile.LAYOUTS)
    assert len(hostile.LAYOUTS) >= 9


# ---------------------------------------------------------------------- it knows what is genuine


def test_genuine_card_bears_the_mac_the_hall_makes():
    signer = KeyFileSigner(hostile.ROOT, hostile.REGION)
    assert signer.meter_keys(hostile.METER, hostile.KEY_VERSION)[0] == hostile.KEY
    image = genuine().main
    frame = image[ORDER_AT : ORDER_AT + frames.frame_size(ORDER)]
    head = hostile.CARD.to_bytes(4, "big") + hostile.REGION.to_bytes(2, "big") + bytes((1, 2, size_of(ORDER)))
    order_key = hmac.new(hostile.KEY, b"icgas/1 order\0", hashlib.sha256).digest()[:16]
    assert frame[-11:-3] == hmac.new(order_key, head + frame[4:-11], hashlib.sha256).digest()[:8]
    assert hostile.authentic(image)["bought_total"] == hostile.BOUGHT


def test_mended_image_passes_the_checks_again():
    image = genuine().main
    image[13], image[ORDER_AT + 4 + 20] = 5, 1  # card number, a byte of the total
    assert frames.check_identity(image) == codes.CRC
    hostile.mend_identity(image)
    assert frames.check(image, ORDER_AT, size_of(ORDER)) == codes.CRC
    hostile.mend_frame(image, ORDER_AT, size_of(ORDER))
    assert not frames.check(image, ORDER_AT, size_of(ORDER))
    assert hostile.authentic(image) is None
    hostile.mend_mac(image)
    hostile.mend_frame(image, ORDER_AT, size_of(ORDER))
    assert hostile.authentic(image)


def test_mended_company_card_is_genuine_again():
    for chip in fuzz.tool_cards():
        image = chip.main
        places = [row[0] for row in hostile.hall_frames(image)]
        whole = hostile.genuine_frames(image)
        assert whole and set(whole) <= set(places)
        image[0x0E] ^= 1  # card number
        hostile.mend_identity(image)
        assert not hostile.genuine_frames(image)
        hostile.mend_mac(image)
        for at, layout, _, _ in hostile.hall_frames(image):
            hostile.mend_frame(image, at, size_of(layout))
        assert set(hostile.genuine_frames(image)) >= set(whole)


# ---------------------------------------------------------------------- a broken promise is seen

JUDGED = bytes((0x83, 3))
CARD = b"\x01\x00" + genuine(order=NEWER).dump()
STRANGER = bytearray(CARD)
STRANGER[2 + ORDER_AT + 4 + size_of(ORDER)] ^= 1  # one bit of the MAC, the CRC over it mended
FORGED = STRANGER[2:]
hostile.mend_frame(FORGED, ORDER_AT, size_of(ORDER))
FORGED = bytes(FORGED)
CHECKPOINT = bytes((hostile.LAYOUTS.index(layouts.CHECKPOINT), 0)) + b"\xff" * 8
STREAM = b"\x05" + 3 * link.Frame(link.READ, 1, 2, b"abc").encode()


def broken_mac(patch):
    patch.setattr(judging, "mac_right", lambda *_: True)


def unbounded_tokens(patch):
    patch.setattr(lockout.Lockout, "failed", lambda self, bucket: None)


def unknown_code(patch):
    patch.setattr(judging, "check", lambda *_: -99)


def forgetful_account(patch):
    patch.setattr(store.Pair, "save", lambda self, both=False: None)


def password_for_everybody(patch):
    def judge(image, *rest):
        code, identity, order, mac = judging.judge(image, *rest)
        if code == codes.MAC:
            meter_session.slot.write(0x33, 1, 0)
        return code, identity, order, mac

    class meter_session:  # noqa: N801 - where the slot of the session under test is found
        slot = None

    load = session.Session._load

    def remember(self):
        meter_session.slot = self._slot
        return load(self)

    patch.setattr(session.Session, "_load", remember)
    patch.setattr(session, "judge", judge)


def endless_retries(patch):
    def write_checked(memory, address, data):
        while True:
            memory.write(address, data)

    patch.setattr(store, "write_checked", write_checked)


def writes_elsewhere(patch):
    step = session.Session.step

    def astray(self):
        self._slot.chip.main[0xF0] = 1
        return step(self)

    patch.setattr(session.Session, "step", astray)


def decoder_that_loses(patch):
    feed_one = link.Decoder.feed
    patch.setattr(link.Decoder, "feed", lambda self, data: feed_one(self, data[:40]))


def decoder_that_hoards(patch):
    def hoard(self, data):
        self._held += data
        return []

    patch.setattr(link.Decoder, "feed", hoard)


def lenient_codec(patch):
    # Decoding lets every value pass, encoding behind it does not: it is asked of what is not a plain number.
    asked_fields = [kind for _, kind in layouts.CHECKPOINT if kind >> 4 > 3]
    within, asked = codec._within, iter((True,) * len(asked_fields))
    patch.setattr(codec, "_within", lambda kind, value: next(asked, False) or within(kind, value))


def boot_that_raises(patch):
    def recover(self):
        raise KeyError("place")

    patch.setattr(store.Register, "recover", recover)


@pytest.mark.parametrize(
    ("fault", "name", "data", "said"),
    [
        (broken_mac, "judge", JUDGED + FORGED[:IMAGE_SIZE], "not genuine"),
        (broken_mac, "card", b"\x01\x00" + FORGED, "stranger|without a genuine"),
        (broken_mac, "emulator", b"\x01" + FORGED[:IMAGE_SIZE] + bytes((7, 0, 0, 0)) * 2, "stranger|without a genuine"),
        (unbounded_tokens, "judge", JUDGED + FORGED[:IMAGE_SIZE], "tokens"),
        (unbounded_tokens, "card", b"\x01\x00" + FORGED, "tokens"),
        (unknown_code, "judge", JUDGED + FORGED[:IMAGE_SIZE], "-99"),
        (forgetful_account, "card", CARD, "after a power-up"),
        (password_for_everybody, "card", b"\x01\x00" + FORGED, "spent on a stranger"),
        (endless_retries, "boot", bytes((2, 0, 0)), "writes to the memory"),
        (writes_elsewhere, "card", CARD, "outside the report slots"),
        (decoder_that_loses, "link", STREAM, "dropped"),
        (decoder_that_hoards, "link", STREAM * 10, "holds"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_broken_promise_is_seen(monkeypatch, fault, name, data, said):
    feed(name, data)  # sound code has a documented outcome, and templates are made of it
    fault(monkeypatch)
    with pytest.raises(Undocumented, match=said):
        feed(name, data)


@pytest.mark.parametrize(
    ("fault", "name", "data", "raised"),
    [
        (boot_that_raises, "boot", bytes((2, 0, 0)), KeyError),
        (lenient_codec, "codec", CHECKPOINT, codec.RecordError),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_exception_nobody_documented_passes_through(monkeypatch, fault, name, data, raised):
    feed(name, data)
    fault(monkeypatch)
    with pytest.raises(raised):
        feed(name, data)


# ---------------------------------------------------------------------- the parts that count


def test_memory_ends_what_asks_too_often():
    memory = CountedMemory(bytearray(4), 1, 1)
    memory.read_into(0, bytearray(4))
    with pytest.raises(Undocumented, match="1 reads"):
        memory.read_into(0, bytearray(4))
    memory.put(3, 7)
    with pytest.raises(Undocumented, match="1 writes"):
        memory.fill(0, 7, 2)
    memory.allow(1, 1)
    memory.fill(0, 8, 2)
    assert memory.cells == b"\x08\x08\x00\x07"


@pytest.mark.parametrize("address", [-1, 3, 4])
def test_memory_has_an_end(address):
    memory = CountedMemory(bytearray(4), 9, 9)
    with pytest.raises(Undocumented, match="outside"):
        memory.read_into(address, bytearray(2))
    with pytest.raises(Undocumented, match="outside"):
        memory.write(address, b"ab")


def test_memory_is_flaky_and_stuck_as_told():
    memory = CountedMemory(bytearray(4), 9, 9)
    memory.stuck = 1
    memory.write(0, b"abcd")
    assert memory.cells == b"a\0cd"
    memory.flaky = 2
    with pytest.raises(OSError, match="5"):
        memory.write(0, b"zzzz")
    assert memory.cells == b"a\0cd"


def test_slot_pulls_the_card_before_the_call_it_was_told():
    slot = hostile.CountedSlot(pull=2)
    slot.insert(genuine())
    slot.power_on()
    image = bytearray(IMAGE_SIZE)
    slot.read(0x30, 0, image)
    assert image == genuine().main
    slot.read(0x30, 0, image)
    assert image == b"\xff" * IMAGE_SIZE


def test_meter_that_lost_its_card_at_every_call_keeps_its_books():
    outcomes = {feed("card", bytes((1, pull)) + CARD[2:]) for pull in range(hostile.SLOT_READS + hostile.SLOT_WRITES)}
    assert {text.partition(")")[0] for text in outcomes} == {"[(-27, -27", "[(0, -26", "[(0, 0"}


def test_pack_that_ends_within_an_input_is_refused():
    whole = hostile.packed([b"", b"abc"])
    assert list(hostile.unpacked(whole)) == [b"", b"abc"]
    for size in (1, 3, len(whole) - 1):
        with pytest.raises(ValueError, match="ends within"):
            list(hostile.unpacked(whole[:size]))


def test_short_input_is_an_input():
    for name in NAMES:
        feed(name, b"")
        feed(name, bytes(3))
    assert feed("card", bytes(2) + bytes(DUMP_SIZE)).startswith("[(-2, -2)]")
