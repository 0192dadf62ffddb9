# ruff: noqa: F821 - run behind parts.py
# What a pulse takes from the heap, by both meters: heap_lock (a pulse that allocates raises MemoryError) and, where the
# VM has it, the sum of all that was ever allocated. Prints ``key value`` lines. Needs a time limit around it.

import micropython

from meter import hot

PULSES = 10000
BATCHES = 100
_total = getattr(micropython, "mem_total", None)


def locked(work, argument, times):
    # How many calls of ``work`` failed for want of heap.
    failed = 0
    i = 0
    micropython.heap_lock()
    while i < times:
        try:
            if argument:
                work(argument)
            else:
                work()
        except MemoryError:
            failed += 1
        i += 1
    micropython.heap_unlock()
    return failed


def taken(work, argument, times):
    # Bytes allocated in ``times`` calls, freed again or not.
    i = 0
    start = _total()
    while i < times:
        if argument:
            work(argument)
        else:
            work()
        i += 1
    return _total() - start


def control():
    # Allocates: both meters must see it, else they would say nothing of the meter.
    return bytes(DATA[:20])


DATA = b"x" * 40


def checkpoint(store):
    # Bytes allocated by the pulse that closes a full tally, the mean of eight.
    meter, _ = bound_meter(store, 1, 64)
    bytes_taken = 0
    for _ in range(8):
        for _ in range(63):
            meter.pulse()
        bytes_taken += taken(meter.pulse, 0, 1)
    return bytes_taken // 8


def measured(name, meter):
    told = PULSES + 64 * BATCHES
    failed = locked(meter.pulse, 0, PULSES)
    print("lock_pulse_" + name, failed)
    failed_batches = locked(meter.pulses, 64, BATCHES)
    print("lock_batch_" + name, failed_batches)
    if _total:
        told *= 2
        print("total_pulse_" + name, taken(meter.pulse, 0, PULSES))
        print("total_batch_" + name, taken(meter.pulses, 64, BATCHES))
    if not failed and not failed_batches and meter.register.cells[0] != told:
        raise ValueError(name)


def main():
    if locked(control, 0, 5) != 5 or (_total and taken(control, 0, 5) == 0):
        raise ValueError("the meters see nothing")
    native = hot.make_pulse is not hot.plain_pulse
    for name, store, lanes in (
        ("mapped_one", MappedStore, 1),
        ("mapped_four", MappedStore, 4),
        ("method_one", MethodStore, 1),
        ("method_four", MethodStore, 4),
    ):
        # The tally has room for all of it: no checkpoint.
        meter, memory = bound_meter(store, lanes, 36864 // lanes)
        if native:
            measured("viper_" + name, meter)
            meter, memory = bound_meter(store, lanes, 36864 // lanes)
            meter.pulse = hot.plain_pulse(meter.register.cells, memory, meter._reached)
            meter.pulses = hot.plain_pulses(meter.register.cells, memory, meter._reached)
        measured("plain_" + name, meter)
    if _total:
        print("checkpoint", checkpoint(MethodStore))


main()
