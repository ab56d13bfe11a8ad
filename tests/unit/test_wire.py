"""Reading a run's parts from a response, however its bytes are cut."""

import itertools
from collections.abc import AsyncIterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from client.delivery.wire import Part, read_parts
from client.errors import ConnectionLost

WIRE = (
    b'event: metadata\r\ndata: {"run_id":"r"}\r\nid: 1-0\r\n\r\n'
    b": heartbeat\r\n\r\n"
    b'event: messages\ndata: ["\xc3\xa9",\ndata: 1]\nid: 2-0\n\n'
    b'event: error\rdata: {"message":"x"}\r\r'
    b"data: {}\r\n\r\n"
)
PARTS = [
    Part("metadata", b'{"run_id":"r"}', "1-0"),
    Part("messages", b'["\xc3\xa9",\n1]', "2-0"),
    Part("error", b'{"message":"x"}', None),
    Part("message", b"{}", None),
]


def response(chunks: list[bytes]) -> httpx.Response:
    async def body() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk

    return httpx.Response(200, content=body())


@given(st.lists(st.integers(0, len(WIRE)), max_size=30))
async def test_parts_are_the_same_however_the_bytes_are_cut(cuts: list[int]) -> None:
    """Any split of the bytes gives the same parts, with the ids that they themselves have."""
    edges = [0, *sorted(cuts), len(WIRE)]
    chunks = [WIRE[a:b] for a, b in itertools.pairwise(edges)]
    parts_read = [part async for parts in read_parts(response(chunks)) for part in parts]
    assert parts_read == PARTS


async def test_what_is_cut_short_is_no_part() -> None:
    """A clean end in the middle of an event gives what was whole, and then the error."""
    parts_read: list[Part] = []

    async def read() -> None:
        async for parts in read_parts(response([WIRE[:-10]])):
            parts_read.extend(parts)

    with pytest.raises(ConnectionLost, match="middle of an event"):
        await read()
    assert parts_read == PARTS[:-1]


async def test_life_without_parts_is_seen() -> None:
    """A heartbeat is no part, but it is something that arrived."""
    assert [p async for p in read_parts(response([b": heartbeat\r\n\r\n"]))] == [[]]
