"""What a pulse takes from the heap, by two meters that each miss what the other sees.

``mem_total`` (unix VM) sums every allocation, freed or not; ``heap_lock`` (both VMs) fails the pulse that allocates.
Each of the hot path's variants is measured: store mapped or through a method, one lane or four, one pulse at a time
or in batches, in machine code where the VM has it and as the portable twin. A row gives the worst of its variants.
"""

from collections.abc import Callable

import pytest

from gasrig.targets import run_script

PULSES, BATCHES, BATCH = 10_000, 100, 64  # as in vm/heap.py
STORES = ("mapped_one", "mapped_four", "method_one", "method_four")
BYTES = "bytes/pulse"
FAILING = f"of {PULSES}"
FAILING_BATCHES = f"of {BATCHES}"
SECONDS = 60  # a VM whose heap stays locked hangs


def _measure(target: str, vm_text: Callable[..., str], detail: Callable[..., None]) -> dict[str, int]:
    lines = run_script(target, vm_text("parts", "heap"), timeout=SECONDS).splitlines()
    found = {key: int(value) for key, value in (line.split() for line in lines)}
    for key, value in found.items():
        detail(f"heap of the hot path, {target}, {key}", value, "failing" if key.startswith("lock") else "bytes")
    return found


def _worst(found: dict[str, int], kind: str, per: int = 1) -> tuple[float | None, str]:
    # The highest figure over the stores, and which of them allocate.
    values = {store: found[f"{kind}_{store}"] for store in STORES if f"{kind}_{store}" in found}
    if not values:
        return None, "no viper on this VM"
    guilty = [f"{store} {value / per:g}" for store, value in values.items() if value]
    worst = max(values.values()) / per
    return int(worst) if worst == int(worst) else worst, ", ".join(guilty)


@pytest.mark.rows(
    total_pulse_viper=("heap per pulse, unix mem_total", BYTES, "≤ 0"),
    total_batch_viper=("heap per pulse in batches of 64, unix mem_total", BYTES, "≤ 0"),
    total_pulse_plain=("heap per pulse, portable twin, unix mem_total", BYTES, "≤ 0"),
    total_batch_plain=("heap per pulse in batches, portable twin, unix mem_total", BYTES, "≤ 0"),
    lock_pulse_viper=("pulses failing under heap_lock, unix", FAILING, "≤ 0"),
    lock_batch_viper=("batches failing under heap_lock, unix", FAILING_BATCHES, "≤ 0"),
    lock_pulse_plain=("pulses failing under heap_lock, portable twin, unix", FAILING, "≤ 0"),
    lock_batch_plain=("batches failing under heap_lock, portable twin, unix", FAILING_BATCHES, "≤ 0"),
    checkpoint=("heap a checkpoint takes (freed again), unix", "bytes", None),
)
@pytest.mark.needs("micropython")
def test_heap_unix(vm_text, record, detail) -> None:
    found = _measure("micropython", vm_text, detail)
    for twin in ("viper", "plain"):
        for meter, call, per in (
            ("total", "pulse", PULSES),
            ("total", "batch", BATCHES * BATCH),
            ("lock", "pulse", 1),
            ("lock", "batch", 1),
        ):
            value, note = _worst(found, f"{meter}_{call}_{twin}", per)
            record(note, **{f"{meter}_{call}_{twin}": value})
    record(checkpoint=found["checkpoint"])


@pytest.mark.rows(
    pulse=("pulses failing under heap_lock, wasm", FAILING, "≤ 0"),
    batch=("batches failing under heap_lock, wasm", FAILING_BATCHES, "≤ 0"),
)
@pytest.mark.needs("wasm")
def test_heap_wasm(vm_text, record, detail) -> None:
    found = _measure("wasm", vm_text, detail)
    for call in ("pulse", "batch"):
        value, note = _worst(found, f"lock_{call}_plain")
        record(note, **{call: value})
