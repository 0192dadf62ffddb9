# Two visits of a card and some gas between them, on a meter whose store is a file: what a meter's own session needs
# of the heap, and as little else as can be. Runs from source behind a few lines that call main(), or as .mpy.

import gc


class FileStore:
    # Nonvolatile memory in a file, so that none of it lies in the heap.
    def __init__(self, path):
        self.file = open(path, "r+b")  # noqa: SIM115 - a part lives as long as its meter
        self.byte = bytearray(1)

    def read_into(self, address, buffer):
        self.file.seek(address)
        self.file.readinto(buffer)

    def write(self, address, raw):
        self.file.seek(address)
        self.file.write(raw)

    def put(self, address, value):
        self.byte[0] = value
        self.file.seek(address)
        self.file.write(self.byte)

    def fill(self, address, value, count):
        while count:
            self.put(address, value)
            address += 1
            count -= 1


class Motor:
    place = -1

    def drive(self, direction):
        self.place = direction or self.place

    def current(self):
        return True

    def position(self):
        return self.place


class Panel:
    text = ""

    def show(self, text, symbols):
        self.text = text

    def beep(self, pattern):
        pass


class Slot:
    # An SLE4442 that knows its password procedure and no more.
    def __init__(self, main, psc):
        self.main = main
        self.security = bytearray(b"\x07" + psc)
        self.right = 0

    def power_on(self):
        self.right = 0
        return bytes(self.main[:4])

    def power_off(self):
        self.right = 0

    def read(self, control, address, buffer):
        source = self.main if control == 0x30 else self.security
        for i in range(len(buffer)):
            buffer[i] = source[address + i]
        if control == 0x31 and self.right != 3:
            buffer[1:4] = b"\0\0\0"

    def write(self, control, address, data):
        if control == 0x33:
            self.right = self.right + 1 if self.security[address] == data and address == self.right + 1 else 0
        elif control == 0x39 and (self.right == 3 or not data & ~self.security[0]):
            self.security[0] = data & 7
        elif control == 0x38 and self.right == 3:
            self.main[address] = data


def allocated():
    gc.collect()
    return gc.mem_alloc()


def visit(meter):
    # The card goes in and stays until its report is written and the valve has come to rest.
    code = meter.card_in()
    steps = 0
    while meter.session.active or meter.valve.moving:
        meter.tick(max(1, meter.next_ms))
        steps += 1
        if steps > 2000:
            raise OSError(110)
    code = meter.last_code if meter.last_code != code else code
    meter.card_out()
    return code


def session(folder, psc, lane_length, pulses):
    # Everything but the import; returns what a running meter holds, so that it is still there when it is weighed.
    from meter.meter import Meter, Settings

    with open(folder + "card.bin", "rb") as file:
        card = bytearray(file.read(256))
    slot = Slot(card, psc)
    settings = Settings(1, lane_length)
    meter = Meter(FileStore(folder + "store.bin"), FileStore(folder + "keys.bin"), Motor(), slot, Panel(), settings)
    print("boot", meter.boot(13000000, 0))
    print("first", visit(meter))
    print("valve", meter.valve.state)
    for _ in range(pulses):
        meter.pulse()
    print("second", visit(meter))
    print("remaining", meter.remaining)
    print("panel", meter.panel.text)
    for i in range(0, 256, 32):
        print("card", card[i : i + 32].hex())
    return meter


def main(folder, psc, lane_length, pulses, threshold):
    # ``threshold``: collect garbage whenever so many bytes have been allocated, as a board's start-up would set it,
    # so that what is kept is not strewn over the heap; -1 collects only when the heap is full.
    gc.threshold(threshold)
    before = allocated()
    __import__("meter.meter")
    imported = allocated() - before
    held = session(folder, psc, lane_length, pulses)
    print("before", before)
    print("imported", imported)
    print("session", allocated() - before)
    return held
