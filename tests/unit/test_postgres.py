"""The database that `STEADY_POSTGRES_URI` names, where it cannot be used."""

import pytest

from agent.storage.postgres import database
from client.cli.local_server import free_port


async def test_a_database_that_cannot_be_used_is_told_in_words() -> None:
    """The error names the setting and holds the database's own words, but no password."""
    uri = f"postgresql://steady:secret-word@127.0.0.1:{free_port()}/steady"
    with pytest.raises(RuntimeError, match=r"STEADY_POSTGRES_URI.*Connection refused") as raised:
        async with database(uri, wait_seconds=0.1):
            pass
    assert "secret-word" not in str(raised.value)
