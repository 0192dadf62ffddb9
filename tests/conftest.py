"""Optional parts of the system a test may need.

A test that needs one is skipped with the reason where it is missing, or fails if ICGAS_REQUIRE names it
(``ICGAS_REQUIRE=micropython,wasm``; ``.ci/run`` sets it), so that no skip is silent.
"""

import importlib.util
import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from gasrig import mpy, targets

# The portable_*.py files are plain asserts over the portable packages, so that a VM can run their very text
# (test_portable.py). On the host each is collected by the test file of its subject, with pytest's explanations.
sys.path.insert(0, str(Path(__file__).parent / "installed"))
for _portable in sorted(Path(__file__).parent.rglob("portable_*.py")):
    if str(_portable.parent) not in sys.path:
        sys.path.insert(0, str(_portable.parent))
    pytest.register_assert_rewrite(_portable.stem)


def _command(name: str) -> Callable[[], str | None]:
    return lambda: None if shutil.which(name) else f"no command {name} on PATH"


def _package(name: str) -> Callable[[], str | None]:
    return lambda: None if importlib.util.find_spec(name) else f"package {name} is not installed"


# part: why it is missing, or None
PARTS: dict[str, Callable[[], str | None]] = {
    "micropython": lambda: targets.unavailable("micropython"),
    "wasm": lambda: targets.unavailable("wasm"),
    "mpy-cross": mpy.unavailable,
    "construct": _package("construct"),
    "crcmod": _package("crcmod"),
    "sqlalchemy": _package("sqlalchemy"),
    "alembic": _package("alembic"),
    "cryptography": _package("cryptography"),
    "demandlib": _package("demandlib"),
    "postgresql": lambda: _package("psycopg")() or _command("initdb")() or _command("pg_ctl")(),
    "atheris": _package("atheris"),
    "valgrind": _command("valgrind"),
    "git": _command("git"),
}


def _required() -> set[str]:
    return {part.strip() for part in os.environ.get("ICGAS_REQUIRE", "").split(",") if part.strip()}


def pytest_configure(config: pytest.Config) -> None:
    unknown = _required() - PARTS.keys()
    if unknown:
        raise pytest.UsageError(f"ICGAS_REQUIRE names {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")


def require_part(part: str) -> None:
    """Skip or fail if ``part`` is missing: the test, or the module that calls it before it imports the part."""
    reason = PARTS[part]()
    if reason is None:
        return
    if part in _required():
        pytest.fail(f"ICGAS_REQUIRE names {part}, but: {reason}", pytrace=False)
    pytest.skip(f"{part}: {reason}", allow_module_level=True)


def pytest_runtest_setup(item: pytest.Item) -> None:
    for mark in item.iter_markers("needs"):
        for part in mark.args:
            require_part(part)


@pytest.fixture
def require() -> Callable[[str], None]:
    """``require("wasm")`` inside a test, where the part is known only there; else ``@pytest.mark.needs``."""
    return require_part


@pytest.fixture(
    params=[
        pytest.param(name, marks=[] if name == "cpython" else [pytest.mark.needs(name)]) for name in targets.TARGETS
    ]
)
def target_name(request: pytest.FixtureRequest) -> str:
    """Runs the test once on every target."""
    return str(request.param)


@pytest.fixture(
    params=[pytest.param(name, marks=pytest.mark.needs(name)) for name in targets.TARGETS if name != "cpython"]
)
def vm_name(request: pytest.FixtureRequest) -> str:
    """Runs the test once on every real MicroPython VM."""
    return str(request.param)
