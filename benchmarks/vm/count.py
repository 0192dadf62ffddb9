# ruff: noqa: F821 - run behind parts.py and two lines that set JOB and CALLS
# One job of the debit, so many calls, to be counted from outside.

import gc


def empty(meter, calls):
    for _ in range(calls):
        pass


def single(meter, calls):
    for _ in range(calls):
        meter.pulse()


def batch(meter, calls):
    for _ in range(calls // 64):
        meter.pulses(64)


def main():
    mapped, _ = bound_meter(MappedStore)
    method, _ = bound_meter(MethodStore)
    loop, meter = {
        "empty": (empty, mapped),
        "trivial": (single, Trivial()),
        "mapped": (single, mapped),
        "method": (single, method),
        "batch_mapped": (batch, mapped),
        "batch_method": (batch, method),
    }[JOB]
    gc.collect()  # a collection costs millions: none may fall into the counted calls of one job and not of another
    loop(meter, CALLS)


main()
