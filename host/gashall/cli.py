"""The command ``icgas``: finds its subcommands among the installed entry points and runs one.

A subcommand is an entry point of the group ``icgas.commands``: its name, and a function that takes the list
of arguments and returns an exit code. One whose extra is not installed says which one to install.
"""

import os
import sys
from collections.abc import Callable
from importlib.metadata import EntryPoint, entry_points, version

from gashall.errors import GasError

GROUP = "icgas.commands"
INTERRUPTED = 130
CLOSED = 141

# Third-party module -> the extra of pyproject.toml that brings it.
EXTRAS = {
    "alembic": "hall",
    "construct": "check",
    "crcmod": "check",
    "cryptography": "hall",
    "demandlib": "demo",
    "pandas": "demo",
    "rich": "hall",
    "serial": "serial",
    "sqlalchemy": "hall",
}
DEFAULT_EXTRA = "rig"
OURS = ("gascard", "gashall", "gasrig", "meter")


def main(argv: list[str] | None = None) -> int:
    """Run ``icgas``; ``argv`` without the program's name, the process's own if None. The exit code."""
    arguments = sys.argv[1:] if argv is None else argv
    commands = {point.name: point for point in entry_points(group=GROUP)}
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_usage(commands))
        return 0 if arguments else 2
    if arguments[0] == "--version":
        print(f"icgas {version('icgas')}")
        return 0
    name, *rest = arguments
    if name not in commands:
        print(f"icgas: there is no command {name!r}\n{_usage(commands)}", file=sys.stderr)
        return 2
    return run(commands[name], rest)


def run(point: EntryPoint, arguments: list[str]) -> int:
    """Load and run one subcommand; errors of this package become a sentence and exit code 1."""
    try:
        command: Callable[[list[str]], int] = point.load()
        return command(arguments)
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if not missing or missing in OURS:
            raise
        extra = EXTRAS.get(missing, DEFAULT_EXTRA)
        print(
            f"icgas {point.name}: no package {missing}; install it with: pip install 'icgas[{extra}]'",
            file=sys.stderr,
        )
    except GasError as error:
        print(f"icgas {point.name}: {error}", file=sys.stderr)
    except KeyboardInterrupt:
        print(f"icgas {point.name}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Nobody reads on: what is still buffered must not be tried again at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return CLOSED
    return 1


def _usage(commands: dict[str, EntryPoint]) -> str:
    names = ", ".join(sorted(commands)) or "none installed"
    return f"usage: icgas COMMAND ...\ncommands: {names}\nicgas COMMAND --help says more; icgas --version."
