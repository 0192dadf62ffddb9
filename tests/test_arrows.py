"""Who may import whom (docs/DESIGN.md, "Shape"), read from the sources themselves."""

import ast
import tomllib
from pathlib import Path

import pytest

from gasrig.targets import PORTABLE_GASRIG, TARGETS, portable_sources, run_script

ROOT = Path(__file__).resolve().parent.parent
ROOTS = {
    "gascard": ROOT / "protocol/gascard",
    "meter": ROOT / "firmware/meter",
    "gashall": ROOT / "host/gashall",
    "gasrig": ROOT / "simulator/gasrig",
}
MAY_IMPORT = {
    "gascard": {"gascard"},
    "meter": {"gascard", "meter"},
    "gashall": {"gascard", "gashall"},
    "gasrig": {"gascard", "meter", "gashall", "gasrig"},
}
# Modules of both VMs that portable code may use. No floats, so no `math`; `machine` is a board's (and the
# simulator's own); `micropython` and `uctypes` are the VMs' own, imported in a try.
ON_EVERY_VM = {"array", "binascii", "collections", "errno", "gc", "hashlib"}
ON_EVERY_VM |= {"io", "json", "os", "random", "struct", "sys", "time"}
ON_BOARDS = {"machine", "micropython", "uctypes"}

SOURCES = [
    pytest.param(package, file, id=file.relative_to(folder.parent).as_posix())
    for package, folder in ROOTS.items()
    for file in sorted(folder.rglob("*.py"))
]
PORTABLE = {file.resolve() for _, file in portable_sources()}
PORTABLE_RIG = {"gasrig"} | {f"gasrig.{name}" for name in PORTABLE_GASRIG}


def imports(file: Path) -> list[tuple[int, str]]:
    """Every module a file imports, with the line; what stands under `if TYPE_CHECKING` runs nowhere."""
    found: list[tuple[int, str]] = []

    def walk(node: ast.AST) -> None:
        if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
            for child in node.orelse:
                walk(child)
            return
        if isinstance(node, ast.Import):
            found.extend((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file.name}:{node.lineno}: relative import"
            assert node.module is not None
            found.append((node.lineno, node.module))
            if node.module in ROOTS:  # `from gasrig import bench` imports a module too
                found.extend((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)
        for child in ast.iter_child_nodes(node):
            walk(child)

    walk(ast.parse(file.read_text(encoding="utf-8"), str(file)))
    return found


@pytest.mark.parametrize(("package", "file"), SOURCES)
def test_import_of_our_own_follows_the_arrows(package: str, file: Path) -> None:
    wrong = [
        f"line {line}: {name}"
        for line, name in imports(file)
        if name.split(".")[0] in ROOTS and name.split(".")[0] not in MAY_IMPORT[package]
    ]
    assert not wrong, f"{package} imports only {sorted(MAY_IMPORT[package])}"


@pytest.mark.parametrize(
    "file", [pytest.param(*p.values[1:], id=p.id) for p in SOURCES if p.values[1].resolve() in PORTABLE]
)
def test_portable_module_imports_only_what_a_vm_has(file: Path) -> None:
    wrong = []
    for line, name in imports(file):
        top = name.split(".")[0]
        if top == "gasrig":
            # gasrig.parts.valve belongs to the portable package gasrig.parts
            if ".".join(name.split(".")[:2]) in PORTABLE_RIG:
                continue
        elif top in ROOTS or top in ON_EVERY_VM | ON_BOARDS:
            continue
        wrong.append(f"line {line}: {name}")
    assert not wrong


@pytest.mark.parametrize("package", ["firmware/meter", "protocol/gascard"])
def test_firmware_package_init_is_empty(package: str) -> None:
    for file in (ROOT / package).rglob("__init__.py"):
        assert file.read_text() == "", file


def test_tests_hold_no_package() -> None:
    assert not list((ROOT / "tests").rglob("__init__.py"))


def test_allowed_modules_exist_on_every_target(target_name: str) -> None:
    assert target_name in TARGETS
    source = "".join(f"import {name}\n" for name in sorted(ON_EVERY_VM)) + "print('all there')\n"
    assert run_script(target_name, source).split() == ["all", "there"]


def test_linters_know_the_same_portable_modules() -> None:
    """`targets.PORTABLE_GASRIG` is the list; ruff and mypy have to repeat it."""
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    modules = {name for name in PORTABLE_GASRIG if name != "__init__"}
    overrides = next(o for o in tools["mypy"]["overrides"] if "gascard.*" in o["module"])
    judged = {name.split(".")[1] for name in overrides["module"] if name.startswith("gasrig.")}
    assert judged == modules
    eased = {
        Path(name.removesuffix("/**")).stem
        for name in tools["ruff"]["lint"]["per-file-ignores"]
        if name.startswith("simulator/gasrig/")
    }
    assert eased == modules
