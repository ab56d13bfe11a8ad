"""HTTP to the model's endpoint: as httpx's own transport has it, over real sockets."""

import asyncio
import datetime
import gzip
import ipaddress
import socket
import ssl
import struct
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.upstream import ModelTransport
from tests.model_server import ModelServer

Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
Transport = Callable[[str], httpx.AsyncBaseTransport]

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n"
BOTH = pytest.mark.parametrize(
    "make", [ModelTransport, lambda url: httpx.AsyncHTTPTransport()], ids=["ours", "httpx"]
)


@asynccontextmanager
async def serving(handle: Handle, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    async with await asyncio.start_server(handle, "127.0.0.1", 0, ssl=tls) as server:
        port = server.sockets[0].getsockname()[1]
        yield f"{'https' if tls else 'http'}://127.0.0.1:{port}"


def answering(answer: bytes, heard: list[bytes] | None = None, *, cut: bool = False) -> Handle:
    """Answers one request with these bytes; then ends the connection, or cuts it."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = [line[15:] for line in head.splitlines() if line.lower().startswith(b"content-l")]
        body = await reader.readexactly(int(length[0])) if length else b""
        if heard is not None:
            heard.append(head + body)
        writer.write(answer)
        await writer.drain()
        if cut:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            writer.transport.abort()
        writer.close()

    return handle


@asynccontextmanager
async def asking(
    transport: httpx.AsyncBaseTransport, read_seconds: float = 5.0
) -> AsyncIterator[httpx.AsyncClient]:
    timeout = httpx.Timeout(5, read=read_seconds)
    async with httpx.AsyncClient(transport=transport, timeout=timeout) as client:
        yield client


async def test_the_request_arrives_as_httpx_sends_it() -> None:
    """Path, query, headers and body: an endpoint cannot tell the two apart."""
    heard: list[bytes] = []
    for make in (ModelTransport, lambda url: httpx.AsyncHTTPTransport()):
        async with serving(answering(OK, heard)) as url, asking(make(url)) as client:
            target = f"{url}/v1/a%2Fb/chat?api-version=2024-10-21&q=a+b%20c"
            client.headers["host"] = "model.example"
            answer = await client.post(target, json={"é": 1}, headers=[("x-a", "1"), ("x-a", "2")])
            assert (answer.text, answer.reason_phrase) == ("ok", "OK")
    ours, theirs = (request.split(b"\r\n") for request in heard)
    assert ours[0] == theirs[0]
    assert sorted(line.lower() for line in ours) == sorted(line.lower() for line in theirs)


FAILURES: dict[str, tuple[Handle, tuple[type[Exception], ...]]] = {
    "no answer": (answering(b""), (httpx.RemoteProtocolError,)),
    "no HTTP": (answering(b"220 hello\r\n\r\n"), (httpx.RemoteProtocolError,)),
    "half an answer": (answering(CHUNKED), (httpx.RemoteProtocolError,)),
    "cut": (answering(CHUNKED, cut=True), (httpx.RemoteProtocolError, httpx.ReadError)),
    "a broken chunk": (answering(CHUNKED + b"zz\r\n"), (httpx.RemoteProtocolError,)),
}


@BOTH
@pytest.mark.parametrize("kind", FAILURES)
async def test_what_fails_fails_as_with_httpx(make: Transport, kind: str) -> None:
    """Each failure is raised as the kind that the OpenAI SDK, and our words for it, go by."""
    handle, kinds = FAILURES[kind]
    async with serving(handle) as url, asking(make(url)) as client:
        with pytest.raises(kinds):
            await client.get(url)


@BOTH
async def test_an_endpoint_that_is_not_there(make: Transport) -> None:
    """Nobody listens, or no such host: ConnectError, which is worded as `cannot be reached`."""
    async with serving(answering(OK)) as url:
        pass
    for gone in (url, "http://nowhere.invalid"):
        async with asking(make(gone)) as client:
            with pytest.raises(httpx.ConnectError):
                await client.get(gone)


@BOTH
async def test_silence_is_a_read_timeout(make: Transport) -> None:
    """Before the answer, and in the middle of it."""
    for told in (b"", CHUNKED):
        done = asyncio.Event()

        async def hold(
            reader: asyncio.StreamReader,
            writer: asyncio.StreamWriter,
            told: bytes = told,
            done: asyncio.Event = done,
        ) -> None:
            writer.write(told)
            await done.wait()
            writer.close()

        async with serving(hold) as url, asking(make(url), 0.2) as client:
            with pytest.raises(httpx.ReadTimeout):
                await client.get(url)
            done.set()


async def test_a_compressed_answer_and_a_redirect() -> None:
    """Both are httpx's business, and reach it untouched."""
    packed = gzip.compress(b"hello")
    head = f"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: {len(packed)}\r\n\r\n"
    async with serving(answering(head.encode() + packed)) as there:
        moved = f"HTTP/1.1 307 Moved\r\nlocation: {there}/x\r\ncontent-length: 0\r\n\r\n"
        async with serving(answering(moved.encode())) as url, asking(ModelTransport(url)) as client:
            answer = await client.get(url, follow_redirects=True)
    assert (answer.text, str(answer.url)) == ("hello", f"{there}/x")


async def test_through_a_proxy() -> None:
    """It is asked for the whole URL, with the user and password that its own URL has."""
    heard: list[bytes] = []
    async with serving(answering(OK, heard)) as proxy:
        named = proxy.replace("//", "//ann:secret@")
        async with asking(ModelTransport("http://model.example", named)) as client:
            answer = await client.get("http://model.example/v1/models")
    assert answer.text == "ok"
    assert heard[0].startswith(b"GET http://model.example/v1/models HTTP/1.1\r\n")
    assert b"proxy-authorization: basic yw5uonnly3jlda==" in heard[0].lower()


async def test_tls_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An endpoint whose certificate nobody vouches for is not asked; a known authority's is."""
    files = certificate(tmp_path)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(*files)
    heard: list[bytes] = []
    async with serving(answering(OK, heard), tls) as url:
        async with asking(ModelTransport(url)) as client:
            with pytest.raises(httpx.ConnectError, match=r"(?i)certificate"):
                await client.get(url)
        assert heard == []
        monkeypatch.setenv("SSL_CERT_FILE", str(files[0]))
        async with asking(ModelTransport(url)) as client:
            assert (await client.get(url)).text == "ok"


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


SCRIPT = """
import asyncio, sys, httpx
from agent.upstream import ModelTransport

client = httpx.AsyncClient(transport=ModelTransport(sys.argv[1]))

async def ask():
    print((await client.get(sys.argv[1] + "/models")).status_code)

asyncio.run(ask())
asyncio.run(ask())
"""


def test_it_works_in_one_event_loop_after_another() -> None:
    """A script may run several; each one's connections close with it, and nothing complains."""
    with ModelServer() as model:
        done = subprocess.run(
            [sys.executable, "-X", "dev", "-c", SCRIPT, model.url],
            capture_output=True,
            check=False,
            text=True,
        )
    assert (done.stdout, done.stderr) == ("200\n200\n", "")
