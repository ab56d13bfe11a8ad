"""HTTP chunks merged: what is parsed of them stays the same, and nothing waits."""

import asyncio
import datetime
import ipaddress
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import h11
import httpx2
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st

from agent.model.http_chunks import Merger
from agent.model.transport import MergingTransport

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nx-a: b\r\n\r\n"
HEADS = st.sampled_from(
    [
        HEAD,
        b"HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n" + HEAD,
        HEAD.replace(b": chunked", b":CHUNKED \t"),
        HEAD.replace(b"1.1", b"1.0"),
        HEAD.replace(b"\r\n", b"\n"),
        HEAD.replace(b": chunked", b": gzip, chunked"),
        HEAD.replace(b"x-a: b", b"Transfer-Encoding: chunked"),
        b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\n\r\n",
    ]
)
TEXTS = st.binary(max_size=40) | st.sampled_from([b"\r\n", b"\r\n\r\n", b"0\r\n\r\n", b"a" * 300])


@st.composite
def responses(draw: st.DrawFn) -> bytes:
    """Chunked ones, now and then with something wrong or unusual in them, or cut short."""
    sizes = st.sampled_from(["%x", "%X", "%04x", "%x;a=b", "%x "])
    size = st.just("%x") if draw(st.booleans()) else sizes
    body = b"".join(
        (draw(size) % len(text)).encode() + b"\r\n" + text + b"\r\n"
        for text in draw(st.lists(TEXTS.filter(len), max_size=8))
    )
    ending = draw(st.sampled_from([b"0\r\n\r\n", b"0\r\nx-t: 1\r\n\r\n", b"", b"zz\r\n", b"\r\n"]))
    made = bytearray(draw(HEADS) + body + ending)
    if draw(st.integers(0, 3)) == 0:
        made[draw(st.integers(0, len(made) - 1))] = draw(st.integers(0, 255))
    return bytes(made[: draw(st.integers(0, len(made)))] if draw(st.booleans()) else made)


class Reader:
    """What h11 makes of the bytes that it is given."""

    def __init__(self) -> None:
        self._h11 = h11.Connection(h11.CLIENT)
        self._h11.send(h11.Request(method="GET", target="/", headers=[("host", "a")]))
        self._h11.send(h11.EndOfMessage())
        self.told: list[object] = []
        self.content = b""

    def feed(self, data: bytes) -> None:
        if self.told and self.told[-1] == "broken":
            return
        self._h11.receive_data(data)
        try:
            while (event := self._h11.next_event()) not in (h11.NEED_DATA, h11.PAUSED):
                if isinstance(event, h11.Data):
                    self.content += bytes(event.data)
                else:
                    self.told.append(event)
                if isinstance(event, h11.ConnectionClosed):
                    break
        except h11.RemoteProtocolError:
            self.told.append("broken")


@given(responses(), st.lists(st.integers(1, 60), min_size=1, max_size=40))
def test_h11_reads_the_same(response: bytes, cuts: list[int]) -> None:
    """Content, end, trailers and failures; and after each piece it has all that has arrived."""
    merger, merged, plain = Merger(), Reader(), Reader()
    at = 0
    for number in range(len(response)):
        piece = response[at : at + cuts[number % len(cuts)]]
        at += len(piece)
        if not piece:
            break
        plain.feed(piece)
        if given_out := merger.feed(piece):
            merged.feed(given_out)
        assert merged.content == plain.content
    for reader in (plain, merged):
        reader.feed(b"")
    assert merged.content == plain.content
    assert merged.told == plain.told


def test_extensions_are_left_out() -> None:
    """Chunks whose sizes have extensions are merged like all others."""
    found = Merger().feed(HEAD + b"1;a=b\r\nx\r\n" * 3)
    assert found == HEAD + b"3\r\nxxx\r\n"


def test_what_arrives_together_is_one_chunk() -> None:
    """Many chunks in one piece become one; so do those behind a chunk's end."""
    merger = Merger()
    whole = HEAD + b"".join(b"3\r\nab%d\r\n" % (n % 10) for n in range(1000))
    found = merger.feed(whole + b"5\r\nla")
    assert found.startswith(HEAD + b"bba\r\nab0ab1")  # 3002 in hexadecimal
    assert found.count(b"\r\n") == HEAD.count(b"\r\n") + 2
    assert merger.feed(b"st.\r\n1\r\n!\r\n0\r\n\r\n") == b"4\r\nst.!\r\n0\r\n\r\n"


@asynccontextmanager
async def serving(handle: Handle, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    async with await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"


def answering(heard: list[bytes]) -> Handle:
    """Answers each request of a connection with many chunks at once."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while head := await reader.read(10_000):
            heard.append(head)
            writer.write(HEAD + b"1\r\nx\r\n" * 100 + b"0\r\n\r\n")
        writer.close()

    return handle


async def pieces(client: httpx2.AsyncClient, url: str) -> list[bytes]:
    async with client.stream("GET", url) as response:
        return [piece async for piece in response.aiter_raw()]


async def test_over_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Certificates are checked as ever, and behind them the chunks of each answer are merged."""
    files = certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*files)
    heard: list[bytes] = []
    async with serving(answering(heard), tls) as url:
        async with httpx2.AsyncClient(transport=MergingTransport()) as client:
            with pytest.raises(httpx2.ConnectError, match=r"(?i)certificate"):
                await client.get(url)
        assert heard == []
        monkeypatch.setenv("SSL_CERT_FILE", str(files[0]))
        async with httpx2.AsyncClient(transport=MergingTransport()) as client:
            for _ in range(3):
                assert await pieces(client, url) == [b"x" * 100]
    assert len(heard) == 3


async def test_a_read_is_all_that_arrived_over_tls(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records that wait together are one piece: a model sends each token as a record of its own."""
    files = certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*files)
    monkeypatch.setenv("SSL_CERT_FILE", str(files[0]))
    is_sent = asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD)
        for _ in range(100):
            writer.write(b"1\r\nx\r\n")
            await writer.drain()
        is_sent.set()
        await reader.read()
        writer.close()

    async with (
        asyncio.timeout(60),
        serving(handle, tls) as url,
        httpx2.AsyncClient(transport=MergingTransport(), timeout=None) as client,
        client.stream("GET", url) as response,
    ):
        await is_sent.wait()
        reading, found = response.aiter_raw(), list[bytes]()
        while sum(map(len, found)) < 100:
            found.append(await anext(reading))
    assert b"".join(found) == b"x" * 100
    assert len(found) < 10  # what came with the head, the rest, and more on a busy machine


@pytest.mark.parametrize("ending", [b"0\r\n\r\n", b"2\r\nyz\r\n0\r\nx-t: 1\r\n\r\n"])
async def test_a_connection_is_used_again(ending: bytes) -> None:
    """However many pieces an answer came in, h11 sees its end, and the next request follows."""
    read_on, connections = asyncio.Event(), 0

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal connections
        connections += 1
        while await reader.read(10_000):
            for piece in (HEAD, b"1\r\na\r", b"\n3\r\nbcd\r\n2", b"\r\nef\r\n", ending):
                read_on.clear()
                writer.write(piece)
                await read_on.wait()
        writer.close()

    async def read(client: httpx2.AsyncClient, url: str) -> bytes:
        content = b""
        async with client.stream("GET", url) as response:
            read_on.set()
            async for piece in response.aiter_raw():
                content += piece
                read_on.set()
        read_on.set()
        return content

    whole = b"abcdef" + (b"yz" if b"yz" in ending else b"")
    async with (
        asyncio.timeout(60),
        serving(handle) as url,
        httpx2.AsyncClient(transport=MergingTransport(), timeout=None) as client,
    ):
        for _ in range(3):
            assert await read(client, url) == whole
    assert connections == 1


async def test_through_a_proxy() -> None:
    """It is asked for the whole URL, with the user and password that its own URL has."""
    heard: list[bytes] = []
    async with serving(answering(heard)) as proxy:
        named = proxy.replace("//", "//ann:secret@")
        async with httpx2.AsyncClient(transport=MergingTransport(proxy=named)) as client:
            assert await pieces(client, "http://model.example/v1/models") == [b"x" * 100]
    assert heard[0].startswith(b"GET http://model.example/v1/models HTTP/1.1\r\n")
    assert b"proxy-authorization: basic yw5uonnly3jlda==" in heard[0].lower()


def certificate(folder: Path) -> tuple[Path, Path]:
    """One for 127.0.0.1 that vouches for itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "model.example")])
    now, day = datetime.datetime.now(datetime.UTC), datetime.timedelta(days=1)
    host = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - day)
        .not_valid_after(now + day)
        .add_extension(x509.SubjectAlternativeName([host]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    return files


@asynccontextmanager
async def opened(handle: Handle, **timeout: float) -> AsyncIterator[Any]:
    """The body of an answer, as the transport gives it."""
    async with serving(handle) as url, MergingTransport() as transport:
        request = httpx2.Request("GET", url, extensions={"timeout": timeout})
        response = await transport.handle_async_request(request)
        yield response.stream
        await response.aclose()


async def arrived(body: Any) -> bytes:
    """What has arrived, once the kernel has it."""
    for _ in range(10_000):
        if piece := body.arrived():
            return bytes(piece)
        await asyncio.sleep(0.001)
    return b""


async def test_what_has_arrived_needs_no_wait() -> None:
    """It is had at once, in its order among what is waited for; nothing where nothing is there."""
    told, go_on = asyncio.Event(), asyncio.Queue[bytes]()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD + b"1\r\na\r\n")
        while piece := await go_on.get():
            writer.write(piece)
            await writer.drain()
            told.set()
        writer.close()

    async def write(piece: bytes) -> None:
        told.clear()
        go_on.put_nowait(piece)
        await told.wait()

    async with asyncio.timeout(60), opened(handle) as body:
        assert body.arrived() == b""  # the head is h11's
        read = [await anext(body)]
        if read == [b"a"]:
            assert body.arrived() == b""
        await write(b"1\r\nb\r\n2\r\nc")
        read.append(await arrived(body))
        waiting = asyncio.create_task(anext(body))
        await asyncio.sleep(0)
        await write(b"d\r\n")
        read.append(await waiting)
        await write(b"1\r\ne\r\n0\r\n\r\n")
        read.append(await arrived(body))
        assert body.arrived() == b""
        with pytest.raises(StopAsyncIteration):
            await anext(body)
        assert b"".join(read) == b"abcde"
        go_on.put_nowait(b"")


async def says_no_more(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(HEAD + b"1\r\na\r\n")
    await reader.read()
    writer.close()


async def test_a_closed_connection_ends_the_wait() -> None:
    """Whoever waits for the next piece while another closes is told, and does not hang."""
    async with asyncio.timeout(60), opened(says_no_more) as body:
        assert await anext(body) == b"a"
        waiting = asyncio.create_task(anext(body))
        await asyncio.sleep(0.05)
        await body.aclose()
        with pytest.raises(httpx2.ReadError):
            await waiting


async def test_a_piece_that_does_not_come_has_its_time() -> None:
    """As httpx2's own transport tells it."""
    async with asyncio.timeout(60), opened(says_no_more, read=0.5) as body:
        assert await anext(body) == b"a"
        with pytest.raises(httpx2.ReadTimeout):
            await anext(body)


@pytest.mark.parametrize("is_closed", [False, True])
async def test_an_idle_connection_is_used_again_unless_its_endpoint_has_closed_it(
    is_closed: bool,
) -> None:
    """A request that is sent on a closed one would fail."""
    served, closed = list[int](), asyncio.Event()

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        served.append(0)
        while await reader.readline():
            await reader.readuntil(b"\r\n\r\n")
            served[-1] += 1
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nHi")
            if is_closed:
                break
        writer.close()
        await writer.wait_closed()
        closed.set()

    async with asyncio.timeout(60), await asyncio.start_server(handle, "127.0.0.1") as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        async with httpx2.AsyncClient(transport=MergingTransport()) as http:
            for _ in range(2):
                assert (await http.get(url)).text == "Hi"
                if is_closed:
                    await closed.wait()
    assert served == ([1, 1] if is_closed else [2])
