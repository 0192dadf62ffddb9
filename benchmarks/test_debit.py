"""What one pulse costs: on CPython in pulses a second, on the real VM beside a trivial method.

The VM's figures are ratios, each net of the empty loop, to a bytecode method that updates four attributes; jobs take
turns in one run, several runs are made, and the median of all rounds counts. Tally byte and checkpoints (one every
4096 pulses) are included; the meter is the real one, bound and with gas.
"""

import os
import shutil
import statistics
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gasrig.targets import available, run_script

RUNS = 3
PULSES = 4096 * 60
UNIT = "× trivial method"


def _needs(target: str) -> None:
    reason = available(target)
    if reason:
        pytest.skip(reason)


def _cpython_rate(vm_text: Callable[..., str], rate: Callable[..., float], store: str) -> float:
    space: dict = {}
    exec(compile(vm_text("parts"), "parts", "exec"), space)
    meter, _ = space["bound_meter"](space[store])

    def pulses() -> None:
        pulse = meter.pulse
        for _ in range(PULSES):
            pulse()

    return rate(pulses, PULSES, rounds=11)


@pytest.mark.rows(rate=("debit on CPython, mapped store", "pulses/s", "≥ 1500000"))
def test_debit_cpython_mapped(vm_text, rate, record) -> None:
    record(rate=_cpython_rate(vm_text, rate, "MappedStore"))


@pytest.mark.rows(rate=("debit on CPython, method store", "pulses/s", "≥ 1500000"))
def test_debit_cpython_method(vm_text, rate, record) -> None:
    record(rate=_cpython_rate(vm_text, rate, "MethodStore"))


@pytest.mark.rows(
    trivial=("trivial method on the VM, net of the loop", "ns", None),
    mapped=("debit on the VM, mapped store", UNIT, "≤ 0.50"),
    mapped_design=("  the same, design goal", UNIT, "≤ 0.40"),
    mapped_four=("debit on the VM, mapped store, four lanes", UNIT, None),
    method=("debit on the VM, store through a method", UNIT, "≤ 0.80"),
    method_design=("  the same, design goal", UNIT, "≤ 0.60"),
    method_four=("debit on the VM, method, four lanes", UNIT, "≤ 0.80"),
    batch_mapped=("debit in batches of 64, mapped store", UNIT, "≤ 1/10"),
    batch_mapped_design=("  the same, design goal", UNIT, "≤ 1/40"),
    batch_method=("debit in batches of 64, method", UNIT, "≤ 1/10"),
    plain_mapped=("debit in plain bytecode, mapped store", UNIT, None),
    plain_method=("debit in plain bytecode, method", UNIT, None),
)
def test_debit_vm(vm_text, record) -> None:
    _needs("micropython")
    ratios: dict[str, list[float]] = {}
    base: list[float] = []
    viper = True
    for _ in range(RUNS):
        rounds: dict[str, list[int]] = {}
        calls: dict[str, int] = {}
        for line in run_script("micropython", vm_text("parts", "debit")).splitlines():
            name, count, *times = line.split()
            rounds[name], calls[name] = [int(t) for t in times], int(count)
        viper = viper and rounds.pop("viper") == [1]
        loop = [t / calls["empty"] for t in rounds.pop("empty")]
        trivial = [t / calls["trivial"] - e for t, e in zip(rounds.pop("trivial"), loop, strict=True)]
        base += trivial
        for name, times in rounds.items():
            pulses = 64 if name.startswith("batch") else 1
            ratios.setdefault(name, []).extend(
                (t / calls[name] - e) / pulses / b for t, e, b in zip(times, loop, trivial, strict=True)
            )
    note = "" if viper else "no viper on this VM: the portable twins were measured"
    record(note, trivial=statistics.median(base))
    for name, values in ratios.items():
        record(note, **{name: statistics.median(values)})
    for name in ("mapped", "method", "batch_mapped"):
        record(note, **{f"{name}_design": statistics.median(ratios[name])})
