# Runs a frozen meter: MEMORY, KEYS and CARD are given as hex before this text, what has become of them is printed
# behind it. One run is one life between two power cuts. The parts are here and not the rig's, so that the meter
# stays what it was when it was frozen.

from binascii import hexlify, unhexlify

from meter.meter import Meter, Settings


class Store:
    def __init__(self, text):
        self.cells = bytearray(unhexlify(text))

    def read_into(self, address, buffer):
        buffer[:] = self.cells[address : address + len(buffer)]

    def write(self, address, data):
        self.cells[address : address + len(data)] = data

    def put(self, address, value):
        self.cells[address] = value

    def fill(self, address, value, count):
        self.cells[address : address + count] = bytes([value]) * count


class Motor:
    place = -1

    def drive(self, direction):
        self.place = direction or self.place

    def position(self):
        return self.place

    def current(self):
        return True


class Panel:
    def show(self, text, symbols):
        self.text = text

    def beep(self, pattern):
        pass


class Slot:
    # The chip's 256 bytes, 4 of protection and 4 of security, as far as a meter works them.
    def __init__(self, text):
        self.dump = bytearray(unhexlify(text))
        self.step = 0

    def power_on(self):
        self.step = 0
        return bytes(self.dump[:4])

    def power_off(self):
        self.step = 0

    def read(self, control, address, buffer):
        for i in range(len(buffer)):
            buffer[i] = self.dump[address + i] if control == 0x30 else self.dump[260 + i] if i == 0 else 0

    def write(self, control, address, data):
        if control == 0x33:
            right = self.dump[260 + address] == data and self.step == address
            self.step = address + 1 if right else 0
        elif control == 0x39 and self.step == 4:
            self.dump[260] = data & 7
        elif control == 0x39 and address == 0:
            self.dump[260] &= data
            self.step = 1
        elif control == 0x38 and self.step == 4 and address > 31:
            self.dump[address] = data


def text(data):
    return hexlify(data).decode()


memory = Store(MEMORY)  # noqa: F821
keys = Store(KEYS)  # noqa: F821
slot = Slot(CARD)  # noqa: F821
meter = Meter(memory, keys, Motor(), slot, Panel(), Settings(1, 256))
print("boot", meter.boot(MINUTES, 0))  # noqa: F821
print("code", meter.card_in())
for _ in range(2000):
    if not (meter.session.active or meter.valve.moving):
        break
    meter.tick(max(1, meter.next_ms))
meter.card_out()
print("valve", meter.valve.state)
for _ in range(PULSES):  # noqa: F821
    meter.pulse()
print("remaining", meter.remaining)
print("card", text(slot.dump))
print("memory", text(memory.cells))
print("keys", text(keys.cells))
