"""A migration that is in use is never edited: databases that have run it would differ from new ones for good."""

import hashlib
import io

import alembic.command
import pytest
from alembic.config import Config

from taskapi.places import ROOT
from taskapi.revision import known
from taskapi.settings import Settings

DIGESTS = {
    "0001": "1364813d22a045f2",
    "0002": "33023830288e7aa0",
    "0003": "43cf90e2df006386",
    "0004": "bcda94d1d8cdd098",
    "0005": "2ddfbebeaa408d5e",
    "0006": "37c5e71dbef9f6f0",
    "0007": "01654b966b60a3f6",
    "0008": "78ae880cc96cf020",
    "0009": "077df2f7cb70e51f",
    "0010": "53b6fe541146e029",
    "0011": "78ecc7e94a7c1b15",
    "0012": "e0dac77b68e54481",
    "0013": "456ac807af2f1719",
    "0014": "efc42f58138c4361",
    "0015": "5984eb541e933c6f",
    "0016": "c145762334a02644",
}
"""Of the SQL of each upgrade. A new migration adds its own."""


def sql_of(before: str, revision: str) -> str:
    """The SQL of an upgrade, without what stands around it."""
    printed = io.StringIO()
    settings = Settings(database_url="postgresql://nobody@localhost/none")
    configuration = Config(ROOT / "alembic.ini", attributes={"settings": settings}, output_buffer=printed)
    alembic.command.upgrade(configuration, f"{before}:{revision}", sql=True)
    lines = printed.getvalue().splitlines()
    return "\n".join(line.rstrip() for line in lines if not line.startswith(("SET ", "-- Running upgrade ")))


@pytest.mark.parametrize(("before", "revision"), list(zip(["base", *sorted(known())], sorted(known()), strict=False)))
def test_its_sql_stays_as_it_is(before: str, revision: str) -> None:
    digest = hashlib.sha256(sql_of(before, revision).encode()).hexdigest()
    assert DIGESTS.get(revision) == digest[:16], "do not edit a migration that is in use: write a new one"
