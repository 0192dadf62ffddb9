"""What the nonvolatile memory bears: bytes written a pulse, and the wear of twenty years.

The twenty years are run, not scaled: a meter on an EEPROM model, four lanes, 550 pulses a day, a card a month, an
alarm answered by the key each time, a power cut a year. What the factory wrote is not counted.
"""

import pytest

from gascard.chip import Chip
from gascard.records import FLAG_PARAMETERS, ORDER_OPENING, ORDER_USER, SHUT_ALARM
from gashall import encode
from gashall.signer import KeyFileSigner
from gasrig import bench
from gasrig.bench import Bench
from gasrig.handset import BUILD_DEFAULTS
from gasrig.parts import Fram
from meter.meter import Meter

REGION = bench.TEST_REGION
METER = "00000000000017"
CARD = 77
ALARM = 500
YEARS = 20
DAY_PULSES = 550
MONTH_PULSES = DAY_PULSES * 1461 // 48
CHECKPOINTS = 24
RATED = 1_000_000


class Household:
    """A bench and the hall's side of its one card."""

    def __init__(self, memory: int, lanes: int) -> None:
        self.signer = KeyFileSigner(bytes(range(32)), REGION)
        self.bench = Bench()
        key, tool_key = self.signer.meter_keys(METER, 1)
        config = {
            "memory": memory,
            "lanes": lanes,
            "lane_length": 4096,
            "pulse_weight": 2,
            "region": REGION,
            "meter": METER,
            "key_version": 1,
            "key": key,
            "tool_key": tool_key,
            "register": 0,
            "index": 0,
            "minutes": 13000000,
        }
        config = {**BUILD_DEFAULTS, **config}
        self.bench.answer(bench.BUILD, bench.pack(bench.CONFIG, config))
        self.chip = Chip()
        self.chip.security[1:4] = self.signer.card_psc(CARD)
        self.sequence = 0
        self.bought = 0
        store: Fram = self.bench.memory
        store.written = 0
        store.wear = type(store.wear)("I", bytes(4 * len(store.wear)))
        store.page_wear = type(store.page_wear)("I", bytes(4 * len(store.page_wear)))

    @property
    def meter(self) -> Meter:
        assert self.bench.meter is not None
        return self.bench.meter

    def buy(self, pulses: int) -> None:
        """Buy at the hall, put the card into the meter, wait for its report and the valve, take it out."""
        self.sequence += 1
        self.bought += pulses
        order = {name: 0 for name, _ in encode.ORDER if name != "psc_mask"} | {
            "meter": METER,
            "account": "0000000001",
            "binding": 1,
            "key_version": 1,
            "sequence": self.sequence,
            "bought_total": self.bought,
            "amount": min(pulses, 0x7FFFFF),
            "pulse_weight": 2,
            "alarm": ALARM,
            "time": 13000000,
            "flags": FLAG_PARAMETERS,
        }
        kind = ORDER_OPENING if self.sequence == 1 else ORDER_USER
        frame = encode.encode_order(self.signer, CARD, order, kind)
        if self.sequence == 1:
            self.chip.main[:] = encode.encode_card(encode.encode_identity(region=REGION, card=CARD))
        self.chip.main[0x20 : 0x20 + len(frame)] = frame
        dump = self.chip.dump()
        for part in range(2):
            self.bench.answer(bench.CARD_PUT, bytes((part,)) + dump[part * bench.CHUNK : (part + 1) * bench.CHUNK])
        snap = bench.unpack(bench.SNAPSHOT, self.bench.answer(bench.INSERT, b""))
        self.bench.answer(bench.REMOVE, b"")
        self.chip.restore(b"".join(self.bench.answer(bench.CARD_GET, bytes((part,))) for part in range(2)))
        assert snap["code"] == 0 and snap["bought_total"] == self.bought, snap

    def wait(self, hours: int) -> None:
        """Let time pass, so that the tokens of the lockout come back."""
        for _ in range(hours):
            self.bench.answer(bench.WAIT, (3_600_000).to_bytes(4, "big"))

    def burn(self, pulses: int) -> None:
        """Count so many pulses one by one."""
        pulse = self.meter.pulse
        for _ in range(pulses):
            pulse()


@pytest.mark.rows(
    one=("bytes written per pulse, one lane, FRAM", "bytes", "≤ 1.01"),
    four=("bytes written per pulse, four lanes, FRAM", "bytes", "≤ 1.01"),
)
def test_store_bytes_per_pulse(record) -> None:
    for key, lanes in (("one", 1), ("four", 4)):
        house = Household(bench.MEMORY_FRAM, lanes)
        house.buy(50_000_000)
        before, generation = house.bench.memory.written, house.meter.register.generation
        pulses = CHECKPOINTS * 4096 * lanes
        house.burn(pulses)
        assert house.meter.register.value == pulses
        assert house.meter.register.generation - generation == CHECKPOINTS
        record(**{key: (house.bench.memory.written - before) / pulses})


@pytest.mark.rows(
    cell=(f"most written cell in {YEARS} years, EEPROM, four lanes", "writes", f"≤ {RATED // 10}"),
    page=(f"most written page in {YEARS} years, EEPROM, four lanes", "writes", f"≤ {RATED // 10}"),
    life=("bytes written per pulse, cards, alarms and boots included", "bytes", None),
)
def test_store_wear(record, detail) -> None:
    house = Household(bench.MEMORY_EEPROM, 4)
    house.buy(MONTH_PULSES + ALARM)
    for month in range(1, YEARS * 12 + 1):
        house.burn(MONTH_PULSES)
        assert house.meter.reasons & SHUT_ALARM
        house.bench.answer(bench.KEY, b"")
        house.buy(MONTH_PULSES)
        house.wait(8)
        if month % 12 == 0:
            house.bench.answer(bench.POWER_OFF, b"\0")
            house.bench.answer(bench.POWER_ON, b"")
            house.bench.answer(bench.KEY, b"")
    meter, memory = house.meter, house.bench.memory
    pulses = YEARS * 12 * MONTH_PULSES
    assert meter.register.value == pulses and meter.remaining == house.bought - pulses
    record(cell=max(memory.wear), page=max(memory.page_wear), life=memory.written / pulses)
    for name, at, end in (
        ("checkpoints", 0x0000, 0x0080),
        ("account", 0x0080, 0x0100),
        ("state", 0x0100, 0x0180),
        ("lockout", 0x0180, 0x0400),
        ("events", 0x0400, 0x0F00),
        ("tally", 0x1000, memory.size),
    ):
        detail(f"most written cell in {YEARS} years, {name}", max(memory.wear[at:end]), "writes")
        pages = memory.page_wear[at // memory.page : end // memory.page]
        detail(f"most written page in {YEARS} years, {name}", max(pages), "writes")
