"""How large the firmware is: as files, in the heap after import, and through a whole card session.

Core and protocol: of ``gascard`` the modules below, of ``meter`` everything but the types of its parts, the factory's
station and the company's own cards, which a build may leave out and which are counted beside them. Compiled without
line numbers and asserts (mpy-cross -O3), in bytecode; the machine-code twin of the hot path is extra. The session runs
from .mpy on a lean store in a file: a card opens the meter, its report is written to the end, gas is counted, the card
comes again.
"""

import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from gascard import codes
from gascard.records import FLAG_PARAMETERS, ORDER_OPENING
from gashall import encode
from gashall.signer import KeyFileSigner
from gasrig import mpy, targets
from gasrig.parts import Fram
from meter.factory import create
from meter.meter import Settings

PROTOCOL = ("codes", "crc", "records", "codec", "keys", "frames", "sle4442", "service", "link")  # in the order of need
TOOL_CARDS = ("gascard/tools.py", "meter/tools.py")  # loaded when such a card comes
MACHINE_CODE = "meter/hot_viper.py"
KB = 1024
SECONDS = 60

REGION = 0xFFFF
METER = "00000000000017"
CARD = 77
BOUGHT = 3000
PULSES = 40
LANE_LENGTH = 256
OPEN = 2
GC_THRESHOLD = 1000  # what a board would set as it starts: vm/visit.py


def core() -> list[tuple[str, Path]]:
    """Core and protocol: path on the board and source file of each module, machine code included."""
    return [row for row in mpy.firmware_files() if row[0] not in TOOL_CARDS]


def bytecode() -> list[tuple[str, Path]]:
    """The same without machine code."""
    return [row for row in core() if row[0] != MACHINE_CODE]


def modules() -> list[str]:
    """Names to import, in an order in which none needs a later one more than it must."""
    first = [f"gascard.{name}" for name in PROTOCOL]
    order = ("layouts", "hot", "store", "account", "deadlines", "display", "events", "lockout", "valve", "judging")
    names = [name.removesuffix(".py").replace("/", ".") for name, _ in bytecode() if "__init__" not in name]
    rest = [f"meter.{name}" for name in order if f"meter.{name}" in names]
    last = [name for name in names if name not in first and name not in rest and name != "meter.meter"]
    return [*first, *rest, *last, "meter.meter"]


@pytest.mark.rows(
    bytecode=("core with guards and service port, and protocol, as .mpy, bytecode", "bytes", "≤ 30720"),
    protocol=("  of this the protocol", "bytes", None),
    tools=("the company's cards beside them", "bytes", None),
    all=("the same with all cards (with drivers too)", "bytes", "≤ 47104"),
    armv6m=("core and protocol as .mpy with machine code, armv6m", "bytes", None),
)
@pytest.mark.needs("mpy-cross")
def test_size_mpy(tmp_path, record, detail) -> None:
    everything = [row for row in mpy.firmware_files() if row[0] != MACHINE_CODE]
    whole = mpy.compile_tree(everything, tmp_path / "bytecode")
    own = {name for name, _ in bytecode()}
    sizes = {name: size for name, size in whole.items() if name in own}
    record(tools=sum(whole[name] for name in TOOL_CARDS), all=sum(whole.values()))
    for name, size in sizes.items():
        detail(f"size of {name.removesuffix('.py')}.mpy", size, "bytes")
    protocol = sum(size for name, size in sizes.items() if name.startswith("gascard/"))
    record(bytecode=sum(sizes.values()), protocol=protocol)
    native = mpy.compile_tree(core(), tmp_path / "armv6m", "armv6m")
    detail(f"size of {MACHINE_CODE.removesuffix('.py')}.mpy, armv6m", native[MACHINE_CODE], "bytes")
    record(armv6m=sum(native.values()))


@dataclass
class Visit:
    """A folder with the firmware as .mpy and a meter fresh from the factory, and a card to open it with."""

    folder: Path
    psc: bytes
    files: dict[str, bytes]

    def restore(self) -> None:
        """Put meter and card back as they were."""
        for name, data in self.files.items():
            (self.folder / name).write_bytes(data)


@pytest.fixture
def visit(tmp_path) -> Visit:
    signer = KeyFileSigner(bytes(range(32)), REGION)
    settings = Settings(1, LANE_LENGTH)
    memory, key_memory = Fram(0x1000 + LANE_LENGTH), Fram(128)
    key, tool_key = signer.meter_keys(METER, 1)
    values = {"meter": METER, "region": REGION, "key_version": 1, "key": key, "tool_key": tool_key}
    create(memory, key_memory, settings, values)
    order = {name: 0 for name, _ in encode.ORDER if name != "psc_mask"} | {
        "meter": METER,
        "account": "0000000001",
        "binding": 1,
        "key_version": 1,
        "sequence": 1,
        "bought_total": BOUGHT,
        "amount": BOUGHT,
        "pulse_weight": settings.pulse_weight,
        "alarm": 500,
        "time": 13000000,
        "flags": FLAG_PARAMETERS,
    }
    image = encode.encode_card(
        encode.encode_identity(region=REGION, card=CARD),
        encode.encode_order(signer, CARD, order, ORDER_OPENING),
    )
    folder = tmp_path / "board"
    mpy.compile_tree(
        [*bytecode(), *((f"{n}.py", Path(__file__).parent / "vm" / f"{n}.py") for n in ("visit", "modules"))],
        folder,
    )
    files = {"store.bin": bytes(memory.cells), "keys.bin": bytes(key_memory.cells), "card.bin": image}
    return Visit(folder, signer.card_psc(CARD), files)


def _checked(said: str) -> dict[str, str]:
    # The session did all it should: what the meter says, and the report on the card as the hall reads it.
    lines = [line.split(maxsplit=1) for line in said.splitlines()]
    answer = {line[0]: line[-1] for line in lines}
    assert [answer[key] for key in ("boot", "first", "valve", "second")] == [
        str(code) for code in (codes.OK, codes.OK, OPEN, codes.REPEAT)
    ], said
    assert answer["remaining"] == str(BOUGHT - PULSES), said
    image = bytes.fromhex("".join(value for key, value in lines if key == "card"))
    card = encode.decode_card(image, KeyFileSigner(bytes(range(32)), REGION))
    assert card.reports[0].authentic and card.reports[1].authentic, said
    report = card.newest_report
    assert report is not None and report.values is not None
    assert (report.values["used"], report.values["bought_total"]) == (PULSES, BOUGHT), said
    return answer


def _on_unix(visit: Visit, module: str, call: str, heap: int | None = None) -> str:
    # The program itself is .mpy too: all the VM compiles is these lines. A VM keeps the path of every module it loads:
    # a board's is short (/lib), so the folder is gone to and not named.
    visit.restore()
    program = f"import os, sys\nos.chdir({str(visit.folder)!r})\nsys.path.insert(0, '.')\n"
    program += f"import {module} as m\nheld = m.{call}\n"
    return targets.run_script("micropython", program, heap=heap, timeout=SECONDS)


def _session_on_unix(visit: Visit, heap: int | None, threshold: int = -1) -> dict[str, str]:
    folder = f"{visit.folder}/"
    call = f"main({folder!r}, {visit.psc!r}, {LANE_LENGTH}, {PULSES}, {threshold})"
    return _checked(_on_unix(visit, "visit", call, heap))


def _passes(visit: Visit, heap: int, threshold: int) -> bool:
    try:
        _session_on_unix(visit, heap, threshold)
    except targets.TargetError as fault:
        if "MemoryError" in str(fault) or "memory allocation failed" in str(fault):
            return False
        raise
    return True


def _smallest(visit: Visit, threshold: int) -> int:
    # In KB, to 2 KB.
    low, high = 16, 80  # fails, passes
    while not _passes(visit, high * KB, threshold):
        low, high = high, high * 2
    while high - low > 2:
        middle = (low + high) // 4 * 2
        if _passes(visit, middle * KB, threshold):
            high = middle
        else:
            low = middle
    return high


@pytest.mark.rows(
    imported=("heap after import, unix", "bytes", None),
    session=("heap after import and session, unix", "bytes", None),
    smallest=(f"smallest heap for a card session from .mpy, gc.threshold({GC_THRESHOLD})", "KB", "≤ 80"),
    smallest_plain=("  the same, garbage collected only when full", "KB", None),
)
@pytest.mark.needs("mpy-cross", "micropython")
def test_session_unix(visit, record, detail) -> None:
    answer = _session_on_unix(visit, None)
    record(imported=int(answer["imported"]), session=int(answer["session"]))
    for line in _on_unix(visit, "modules", f"main({modules()!r})").splitlines():
        name, size = line.split()
        detail(f"heap after import of {name}, unix", int(size), "bytes")
    record(smallest=_smallest(visit, GC_THRESHOLD), smallest_plain=_smallest(visit, -1))


def _on_wasm(visit: Visit, steps: list[str], where: Path) -> str:
    names = []
    for number, step in enumerate(steps):
        name = where / f"step{number:03d}.py"
        name.write_text(step)
        names.append(str(name))
    runner = Path(__file__).parent / "vm" / "steps.mjs"
    command = [targets._node(), runner, targets._wasm_module(), visit.folder, *names]
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=SECONDS, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def _files_as_program(files: dict[str, bytes]) -> Iterator[str]:
    # Lays the files down inside the VM, page by page.
    for name, data in files.items():
        yield f"with open('/{name}', 'wb') as f:"
        for at in range(0, len(data), 64):
            page = data[at : at + 64]
            blank = page.count(page[0]) == len(page)
            yield f"    f.write({page[:1]!r} * {len(page)})" if blank else f"    f.write({page!r})"


WEIGH = "import gc\nprint({what!r}, gc.mem_alloc())\n"


@pytest.mark.rows(
    imported=("heap after import, wasm", "bytes", None),
    session=("heap after import and session, wasm", "bytes", "≤ 57344"),
)
@pytest.mark.needs("mpy-cross", "wasm")
def test_session_wasm(visit, vm_text: Callable[..., str], tmp_path, record, detail) -> None:
    collect = "import gc\ngc.collect()\n"
    steps = [
        vm_text("visit") + "\n" + "\n".join(_files_as_program(visit.files)) + "\ndel f\n" + collect,
        WEIGH.format(what="before") + "import meter.meter\ngc.collect()\n",
        WEIGH.format(what="imported") + f"held = session('/', {visit.psc!r}, {LANE_LENGTH}, {PULSES})\ngc.collect()\n",
        WEIGH.format(what="session"),
    ]
    answer = _checked(_on_wasm(visit, steps, tmp_path))
    before = int(answer["before"])
    record(imported=int(answer["imported"]) - before, session=int(answer["session"]) - before)
    names = modules()
    steps = [WEIGH.format(what=name) + f"import {name}\n" + collect for name in names]
    lines = _on_wasm(visit, [collect, *steps, WEIGH.format(what="end")], tmp_path).splitlines()
    weights = [int(line.split()[1]) for line in lines]
    for name, start, end in zip(names, weights, weights[1:], strict=False):
        detail(f"heap after import of {name}, wasm", end - start, "bytes")
