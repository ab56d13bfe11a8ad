"""A user's idempotency key, as the server gets it."""

import httpx

from agent.http.runs import Chat
from agent.settings import Settings


def test_no_two_users_share_a_key() -> None:
    """Whatever stands in a user's id and in a key, another pair makes another key."""
    pairs = [("a", "b/c"), ("a/b", "c"), ("a", 'b","c'), ('a","b', "c")]
    config = Settings(_env_file=None)  # type: ignore[call-arg]
    transport = httpx.MockTransport(lambda request: httpx.Response(500))
    keys = {
        Chat("http://127.0.0.1", user, "", config, transport).own_id(key) for user, key in pairs
    }
    assert len(keys) == len(pairs)
