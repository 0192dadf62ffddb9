"""What one pulse costs: on CPython in pulses a second, on the real VM beside a trivial method.

The VM's figures are ratios, each net of the empty loop, to a bytecode method that updates four attributes; jobs take
turns in one run, several runs are made, and the median of all counts. How many names a program has moves the figures
by some per cent either way (the VM finds attributes by their names' numbers), so each run begins with another number
of idle names. Tally byte and checkpoints (one every 4096 pulses) are included; the meter is the real one, bound and
with gas.
"""

import os
import re
import shlex
import shutil
import statistics
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gasrig.targets import run_script

SHIFTS = (0, 5, 10, 15, 20)  # idle names before a run
COUNTED_SHIFTS = (0, 5, 10)
PULSES = 4096 * 60
COUNTED = 4096 * 3
UNIT = "× trivial method"


def _shifted(shift: int, program: str) -> str:
    return "".join(f"idle_name_{number} = 0\n" for number in range(shift)) + program


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
    method_four=("debit on the VM, store through a method, four lanes", UNIT, "≤ 0.80"),
    batch_mapped=("debit in batches of 64, mapped store", UNIT, "≤ 1/10"),
    batch_mapped_design=("  the same, design goal", UNIT, "≤ 1/40"),
    batch_method=("debit in batches of 64, method", UNIT, "≤ 1/10"),
    plain_mapped=("debit in plain bytecode, mapped store", UNIT, None),
    plain_method=("debit in plain bytecode, method", UNIT, None),
)
@pytest.mark.needs("micropython")
def test_debit_vm(vm_text, record) -> None:
    ratios: dict[str, list[float]] = {}
    base: list[float] = []
    viper = True
    for shift in SHIFTS:
        rounds: dict[str, list[int]] = {}
        calls: dict[str, int] = {}
        for line in run_script("micropython", _shifted(shift, vm_text("parts", "debit"))).splitlines():
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


@pytest.mark.rows(
    trivial=("trivial method, instructions (callgrind)", "instructions", None),
    mapped=("debit in instructions, mapped store", UNIT, None),
    method=("debit in instructions, method", UNIT, None),
    batch_mapped=("debit in batches of 64 in instructions, mapped", UNIT, None),
    batch_method=("debit in batches of 64 in instructions, method", UNIT, None),
)
@pytest.mark.needs("micropython")
def test_debit_instructions(vm_text, record, tmp_path, monkeypatch) -> None:
    """The same without a clock: counts of the VM's instructions, which repeat from run to run."""
    vm = os.environ.get("ICGAS_MICROPYTHON") or shutil.which("micropython", path=str(Path(sys.executable).parent))
    if shutil.which("valgrind") is None or vm is None:
        pytest.skip("no valgrind on PATH" if vm else "no command micropython beside Python")
    out = tmp_path / "callgrind"
    wrapper = tmp_path / "vm"
    call = ["valgrind", "--tool=callgrind", f"--callgrind-out-file={out}"]
    with open(vm, "rb") as file:
        script = file.read(2) == b"#!"
    call += [sys.executable, "-P", vm] if script else [vm]
    wrapper.write_text(f'#!/bin/sh\nexec {shlex.join(call)} "$@"\n')
    wrapper.chmod(0o755)
    monkeypatch.setenv("ICGAS_MICROPYTHON", str(wrapper))
    monkeypatch.setenv("PYTHONHASHSEED", "0")

    def count(job: str, calls: int, shift: int) -> int:
        program = f"JOB = {job!r}\nCALLS = {calls}\n" + vm_text("parts", "count")
        run_script("micropython", _shifted(shift, program))
        total = re.search(r"^(?:summary|totals): (\d+)", out.read_text(), re.MULTILINE)
        assert total is not None
        return int(total[1])

    found: dict[str, list[float]] = {}
    for shift in COUNTED_SHIFTS:
        start = count("empty", 0, shift)
        jobs = ("empty", "trivial", "mapped", "method", "batch_mapped", "batch_method")
        cost = {job: (count(job, COUNTED, shift) - start) / COUNTED for job in jobs}
        loop = cost.pop("empty")
        trivial = cost.pop("trivial") - loop
        found.setdefault("trivial", []).append(trivial)
        for job, each in cost.items():
            own = each - (loop / 64 if job.startswith("batch") else loop)
            found.setdefault(job, []).append(own / trivial)
    record(**{job: statistics.median(values) for job, values in found.items()})
