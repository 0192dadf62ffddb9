"""How a ledger of an earlier version becomes one of today's: one module a version, never edited once released."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlalchemy as sa

FIRST = 1


def revision(version: int) -> str:
    """A schema version as Alembic calls it: four digits."""
    return f"{version:04d}"


def migrate(connection: "sa.Connection", known: int, at: int) -> None:
    """Bring the tables to the newest version, within the transaction ``connection`` is in.

    ``known`` is the version they are of, 0 for none; ``at`` the minutes since 2000-01-01 UTC that the journal's rows of
    the migration bear. ModuleNotFoundError without Alembic (``pip install icgas[hall]``).
    """
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.attributes.update(connection=connection, at=at)
    if known == FIRST:  # ledgers of version 1 were made before anything was stamped
        command.stamp(config, revision(FIRST))
    command.upgrade(config, "head")
