# What the measured meter is built from on a VM: parts that do their work and count nothing, so that a figure is the
# firmware's and not the simulator's. The other programs of this folder are run behind this text.

from meter.account import Account
from meter.factory import create
from meter.layouts import BOUND
from meter.meter import Meter, Settings


class MethodStore:
    # Reached by calls, as a memory behind a bus is.
    def __init__(self, size):
        self.data = bytearray(size)
        self.runs = {0xA5: b"\xa5" * 64, 0x5A: b"\x5a" * 64}  # a tally knows no other bytes

    def put(self, address, value):
        self.data[address] = value

    def fill(self, address, value, count):
        # At most eleven words of names and stack: a larger frame would itself be taken from the heap.
        data = self.data
        while count >= 64:
            data[address : address + 64] = self.runs[value]
            address += 64
            count -= 64
        while count:
            data[address] = value
            address += 1
            count -= 1

    def write(self, address, raw):
        self.data[address : address + len(raw)] = raw

    def read_into(self, address, buffer):
        buffer[:] = self.data[address : address + len(buffer)]


class MappedStore(MethodStore):
    # In the processor's own address space.
    def __init__(self, size):
        super().__init__(size)
        self.buffer = self.data


class Motor:
    place = -1

    def drive(self, direction):
        self.place = direction or self.place

    def current(self):
        return True

    def position(self):
        return self.place


class Slot:
    def power_on(self):
        return None

    def power_off(self):
        pass


class Panel:
    def show(self, text, symbols):
        pass

    def beep(self, pattern):
        pass


def bound_meter(store, lanes=1, lane_length=4096):
    # A meter with so much gas that only a full tally interrupts the pulses.
    memory = store(0x1000 + lanes * lane_length)
    key_memory = MethodStore(128)
    settings = Settings(lanes, lane_length)
    key = b"\x11" * 16
    create(
        memory,
        key_memory,
        settings,
        {"meter": "00000000000017", "region": 0xFFFF, "key_version": 1, "key": key, "tool_key": key},
    )
    account = Account(memory)
    account.load()
    values = dict(account.values)
    values["state"] = BOUND
    values["binding"] = 1
    values["sequence"] = 1
    values["bought_total"] = 90000000
    account.commit(values, False)
    meter = Meter(memory, key_memory, Motor(), Slot(), Panel(), settings)
    code = meter.boot(13000000, 0)
    if code or meter.remaining != 90000000:
        raise ValueError(code)
    return meter, memory


class Trivial:
    # The measure: a method in bytecode that updates four attributes.
    def __init__(self):
        self.a = 0
        self.b = 0
        self.c = 0
        self.d = 0

    def pulse(self):
        self.a += 1
        self.b -= 1
        self.c += 1
        self.d -= 1
