# ruff: noqa: F821 - run behind parts.py
# How long a debit takes beside a trivial method: all in one run, round by round, so that what disturbs one disturbs
# all. Prints a line a job: its name, calls a round, then nanoseconds of each round.

import time

from meter import hot

ROUNDS = 31
CALLS = 20480  # five full tallies: each round pays for five checkpoints
BATCHES = 640


def empty(meter, calls):
    start = time.time_ns()
    for _ in range(calls):
        pass
    return time.time_ns() - start


def trivial(meter, calls):
    start = time.time_ns()
    for _ in range(calls):
        meter.pulse()
    return time.time_ns() - start


def single(meter, calls):
    start = time.time_ns()
    for _ in range(calls):
        meter.pulse()
    return time.time_ns() - start


def batch(meter, calls):
    start = time.time_ns()
    for _ in range(calls):
        meter.pulses(64)
    return time.time_ns() - start


def built(store, lanes=1, plain=False):
    meter, memory = bound_meter(store, lanes, 4096 // lanes)
    if plain:
        meter.pulse = hot.plain_pulse(meter.register.cells, memory, meter._reached)
        meter.pulses = hot.plain_pulses(meter.register.cells, memory, meter._reached)
    return meter


def main():
    jobs = [
        ("empty", empty, None, CALLS),
        ("trivial", trivial, Trivial(), CALLS),
        ("mapped", single, built(MappedStore), CALLS),
        ("mapped_four", single, built(MappedStore, 4), CALLS),
        ("method", single, built(MethodStore), CALLS),
        ("method_four", single, built(MethodStore, 4), CALLS),
        ("batch_mapped", batch, built(MappedStore), BATCHES),
        ("batch_method", batch, built(MethodStore), BATCHES),
        ("plain_mapped", single, built(MappedStore, 1, True), CALLS),
        ("plain_method", single, built(MethodStore, 1, True), CALLS),
    ]
    times = {}
    for name, _, _, _ in jobs:
        times[name] = []
    for _ in range(ROUNDS):
        for name, loop, meter, calls in jobs:
            times[name].append(loop(meter, calls))
    for name, loop, meter, calls in jobs:
        print(name, calls, " ".join([str(t) for t in times[name]]))
        if loop in (single, batch):
            told = ROUNDS * calls * (64 if loop is batch else 1)
            if meter.remaining != 90000000 - told or meter.reasons:
                raise ValueError("pulses were lost")
    print("viper", 1, 0 if hot.make_pulse is hot.plain_pulse else 1)


main()
