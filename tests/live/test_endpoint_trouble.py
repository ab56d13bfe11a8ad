"""What an endpoint cannot do or refuses: one line for the person, no request that is in vain."""

import asyncio
import datetime
import json
import re
import ssl
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage

from agent.model.chat_model import make_chat_model
from agent.model.errors import ModelError
from agent.settings import Settings
from client import AgentClient, ModelFailed
from client.cli import doctor
from client.cli.local_server import LocalServer, find_config
from tests.conftest import server_env
from tests.model_server import Fault, ModelServer, RecordedRequest, Reply

KEY = "sk-proj-4f9aQ7x2LmN8abcd"


@pytest.fixture
def refusing() -> Iterator[ModelServer]:
    with ModelServer() as running:
        yield running


def settings(**more: Any) -> Settings:
    return Settings.model_validate(
        {"openai_api_key": KEY, "steady_model": "m", "steady_model_retries": 2, **more}
    )


async def failure(question: str = "Hello?", **more: Any) -> ModelError:
    """What a call of the model raises: one line, without the key."""
    model = make_chat_model(settings(**more))
    with pytest.raises(ModelError) as caught:
        async for _ in model.astream(question):
            pass
    text = str(caught.value)
    assert "\n" not in text
    assert KEY not in text
    return caught.value


async def test_a_base_url_without_a_path_is_told(refusing: ModelServer) -> None:
    """A 404 says what is likely: where the base URL has no path, that most end in /v1."""
    refusing.judge = lambda request: (404, {"detail": "Not Found"})
    assert "ends in /v1" not in str(await failure(openai_base_url=refusing.url))
    bare = refusing.url.removesuffix("/v1")
    assert "ends in /v1" in str(await failure(openai_base_url=bare))


OPENAI = {"error": {"message": "You exceeded your current quota.", "code": "insufficient_quota"}}


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (402, {"error": {"message": "Insufficient Balance"}}, "Insufficient Balance"),
        (413, {"message": "Request too large: 9 MB"}, "STEADY_CONTEXT_TOKENS.*9 MB"),
        (429, OPENAI, "over its quota.*exceeded your current quota"),
        (401, {"detail": "Key is expired"}, "OPENAI_API_KEY.*Key is expired"),
        (403, [{"error": {"message": "Not in your country"}}], "Not in your country"),
        (404, {"error": "model 'm' not found, try pulling it"}, "STEADY_MODEL.*try pulling it"),
        (
            400,
            {"detail": [{"loc": ["body", "tools"], "msg": "Not known"}]},
            "body.tools: Not known",
        ),
        (422, {"object": "error", "message": "No such thing"}, "No such thing"),
    ],
)
async def test_what_cannot_help_is_not_tried_again(
    refusing: ModelServer, status: int, body: Any, words: str
) -> None:
    """One request, and the endpoint's words, whichever form of error they come in."""
    refusing.judge = lambda request: (status, body)
    error = await failure(openai_base_url=refusing.url)
    assert len(refusing.requests) == 1
    assert not error.is_transient
    assert re.search(words, str(error))


PNG: Any = {"type": "image", "base64": "AAAA", "mime_type": "image/png"}
LOOK: Any = {"name": "look", "args": {}, "id": "c1", "type": "tool_call"}
SHOWN = [
    HumanMessage("What is it?"),
    AIMessage("", tool_calls=[LOOK]),
    ToolMessage([{"type": "text", "text": "[image]"}, PNG], tool_call_id="c1"),
]


def has_picture(request: RecordedRequest) -> bool:
    return "data:image" in json.dumps(request)


@pytest.mark.parametrize("responses", [False, True])
@pytest.mark.parametrize(
    ("status", "words", "is_learned"),
    [
        (400, "Invalid content type. image_url is only supported by certain models.", True),
        (404, "No endpoints found that support image input", True),
        (500, "image input is not supported - hint: you may need to provide the mmproj", True),
        (400, "Could not process image", False),
    ],
)
async def test_pictures_of_tools_that_are_refused_are_left_out(
    refusing: ModelServer, status: int, words: str, is_learned: bool, responses: bool
) -> None:
    """The model answers without; it is shown none again where it takes none at all."""
    refusing.judge = lambda request: (
        (status, {"error": {"message": words}}) if has_picture(request) else None
    )
    refusing.on("What is it?", Reply("I look."), Reply("I cannot see it."))
    more = {"steady_responses_api": responses, "steady_model_retries": 0}
    model = make_chat_model(settings(openai_base_url=refusing.url, **more))
    for _ in range(2):
        assert "".join([piece.text async for piece in model.astream(SHOWN)]) == "I cannot see it."
    tries = [has_picture(request) for request in refusing.requests]
    assert tries == ([True, False, False] if is_learned else [True, False, True, False])
    assert "[image left out" in json.dumps(refusing.requests[-1])


async def test_a_refusal_that_is_not_of_pictures_stays_one(refusing: ModelServer) -> None:
    """It is told in the endpoint's words, after one more try without the tools' pictures."""
    refusing.judge = lambda request: (400, {"error": {"message": "No such tool."}})
    model = make_chat_model(settings(openai_base_url=refusing.url))
    with pytest.raises(ModelError, match=r"rejected the request: No such tool\."):
        await model.ainvoke(SHOWN)
    assert [has_picture(request) for request in refusing.requests] == [True, False]


async def test_a_persons_picture_that_is_refused_is_told(refusing: ModelServer) -> None:
    """It is not left out in silence: the question is about it."""
    words = "Invalid content type. image_url is only supported by certain models."
    refusing.judge = lambda request: (400, {"error": {"message": words}})
    question = HumanMessage([{"type": "text", "text": "What is it?"}, PNG])
    model = make_chat_model(settings(openai_base_url=refusing.url))
    with pytest.raises(ModelError, match=f"rejected the request: {words}"):
        await model.ainvoke([question])
    assert len(refusing.requests) == 1


def at(seconds: float) -> str:
    now = datetime.datetime.now(datetime.UTC)
    return format_datetime(now + datetime.timedelta(seconds=seconds), usegmt=True)


@pytest.mark.parametrize("wait", [lambda: "90", lambda: at(600)], ids=["seconds", "date"])
@pytest.mark.parametrize(("status", "words"), [(429, "over its rate limit"), (503, "status 503")])
async def test_a_long_retry_after_is_told_and_not_waited_for(
    refusing: ModelServer, wait: Callable[[], str], status: int, words: str
) -> None:
    """The person gets the time, and another model may still be asked."""
    busy = Fault("status", status=status, headers={"retry-after": wait()})
    refusing.on("Busy?", Reply("No.", fault=busy))
    error = await failure("Busy?", openai_base_url=refusing.url)
    assert len(refusing.requests) == 1
    assert words in str(error)
    assert re.search(r"try again in \d{2,3} s", str(error))
    assert error.is_transient


async def test_a_short_retry_after_is_waited_for(refusing: ModelServer) -> None:
    """As before, the endpoint's own short wait is kept, and the answer comes."""
    busy = Fault("status", status=429, headers={"retry-after": "0.1"})
    refusing.on("Busy?", Reply("Now.", fails=[busy]))
    model = make_chat_model(settings(openai_base_url=refusing.url))
    assert (await model.ainvoke("Busy?")).text == "Now."
    assert len(refusing.requests) == 2


async def test_comments_keep_a_slow_answer_alive() -> None:
    """Comments every 0.2 s, a first token after twice the longest gap: one request, an answer."""
    asked = 0

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        asked += 1
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n")
        for _ in range(11):
            writer.write(b": PROCESSING\n\n")
            await asyncio.sleep(0.2)
        for delta, finish in (('{"content": "Here."}', "null"), ("{}", '"stop"')):
            choice = f'{{"index": 0, "delta": {delta}, "finish_reason": {finish}}}'
            writer.write(f'data: {{"id": "c", "choices": [{choice}]}}\n\n'.encode())
        writer.write(b"data: [DONE]\n\n")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
        model = make_chat_model(settings(openai_base_url=url, steady_model_idle_seconds=1))
        assert (await model.ainvoke("Slow?")).text == "Here."
    assert asked == 1


# Where the conversation goes


@asynccontextmanager
async def redirecting(status: int, location: str) -> AsyncIterator[tuple[str, list[bytes]]]:
    """An endpoint that sends everybody elsewhere, and what it was asked."""
    heads: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        heads.append(await reader.readuntil(b"\r\n\r\n"))
        head = f"HTTP/1.1 {status} Moved\r\nlocation: {location}\r\ncontent-length: 0\r\n\r\n"
        writer.write(head.encode())
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", heads


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("sync", [False, True])
async def test_a_redirect_to_another_host_is_refused(
    refusing: ModelServer, status: int, sync: bool
) -> None:
    """The conversation is not sent there, and the line names the setting and the other host."""
    target = f"http://user:secret@localhost:{refusing.port}/v1/chat/completions"
    async with redirecting(status, target) as (url, heads):
        if sync:
            model = make_chat_model(settings(openai_base_url=url))
            with pytest.raises(ModelError) as caught:
                await asyncio.to_thread(lambda: list(model.stream("Hello?")))
            text = str(caught.value)
        else:
            text = str(await failure(openai_base_url=url))
    assert refusing.requests == []
    assert len(heads) == 1
    assert "OPENAI_BASE_URL" in text
    assert f"http://localhost:{refusing.port}" in text
    assert "secret" not in text


# Settings that cannot work


@pytest.mark.parametrize("key", [f"{KEY}\n", f"{KEY[:9]} {KEY[9:]}", f"{KEY}é", f"\t{KEY}"])
async def test_a_key_that_no_endpoint_has_names_its_setting(
    refusing: ModelServer, key: str
) -> None:
    """Nothing is asked with it: a line break, a space or a letter with an accent is a slip."""
    error = await failure(openai_base_url=refusing.url, openai_api_key=key)
    assert "OPENAI_API_KEY" in str(error)
    assert refusing.requests == []


@pytest.mark.parametrize(
    "url",
    ["notaurl", "localhost:11434/v1", "ftp://a/v1", "http://", "http://[::1/v1", "http://a b"],
)
async def test_an_address_that_is_none_names_its_setting(url: str) -> None:
    """The line says how an address looks."""
    error = await failure(openai_base_url=url)
    assert "OPENAI_BASE_URL" in str(error)
    assert "http://" in str(error)


@pytest.mark.parametrize("proxy", ["socks5://127.0.0.1:9", "nonsense://127.0.0.1:9"])
async def test_a_proxy_that_cannot_be_used_names_its_variable(
    monkeypatch: pytest.MonkeyPatch, proxy: str, refusing: ModelServer
) -> None:
    """It concerns only an endpoint that is not on this machine."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALL_PROXY", proxy)
    error = await failure(openai_base_url="https://model.example/v1")
    assert "ALL_PROXY" in str(error)
    model = make_chat_model(settings(openai_base_url=refusing.url))
    assert (await model.ainvoke("Hello?")).text == "You said: Hello?"


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Signed by itself, for this machine; with its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    file = tmp_path / "own.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    file.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    return file


async def test_a_certificate_of_ones_own_names_the_setting(certificate: Path) -> None:
    """Both the address and the variable for one's own authority are named."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        port = server.sockets[0].getsockname()[1]
        url = f"https://localhost:{port}/v1"
        error = await failure(openai_base_url=url, steady_model_retries=0)
    assert "certificate" in str(error)
    assert "SSL_CERT_FILE" in str(error)
    assert "OPENAI_BASE_URL" in str(error)


async def test_a_server_with_such_settings_starts_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Threads and Studio work; each run ends with the line, which `steady doctor` shows once."""
    monkeypatch.setattr(doctor, "_CHECKS", (doctor._model, doctor._job_slots))
    shown: dict[str, tuple[bool | None, str]] = {}
    monkeypatch.setattr(
        doctor, "_print", lambda url, all_: shown.update({f.name: (f.good, f.told) for f in all_})
    )
    config = find_config(Path(__file__).parent)
    env = server_env("notaurl")
    with LocalServer(config, env=env, folder=tmp_path) as server:
        async with AgentClient(server.url) as agent:
            assert await agent.assistants()
            with pytest.raises(ModelFailed, match="OPENAI_BASE_URL"):
                await agent.stream("Hello?").text()
            assert await doctor.examine(agent, "agent") == 1
        assert "OPENAI_BASE_URL" in server.log.read_text(errors="replace")
    assert shown["model"][0] is False
    assert "OPENAI_BASE_URL" in shown["model"][1]
    assert shown["job slots"] == (None, "it needs a model that answers")


# Keys


async def test_a_quoted_key_is_told_nowhere(refusing: ModelServer, tmp_path: Path) -> None:
    """Not in the event, the body of a route, the thread's state, or the server's log."""
    quoted = f"Incorrect API key provided: {KEY} (sk-proj-****abcd), sent as 'Bearer {KEY}'."
    refusing.judge = lambda request: (401, {"error": {"message": quoted}})
    config = find_config(Path(__file__).parent)
    env = {**server_env(refusing.url), "OPENAI_API_KEY": KEY}
    with LocalServer(config, env=env, folder=tmp_path) as server:
        async with AgentClient(server.url) as agent:
            run = agent.stream("Hello?")
            with pytest.raises(ModelFailed, match="Incorrect API key provided") as caught:
                await run.text()
            state = await agent.sdk.threads.get_state(str(run.thread_id))
            thread = await agent.sdk.threads.get(str(run.thread_id))
        async with httpx.AsyncClient(base_url=server.url, trust_env=False) as http:
            bodies = {"/agent/stream": {"message": "Hello?"}, "/chat/stream": {"question": "Hi?"}}
            routed = [(await http.post(path, json=body)).text for path, body in bodies.items()]
        log = server.log.read_text(errors="replace")
    everything = f"{caught.value.message} {state} {thread} {routed} {log}"
    assert all("Incorrect API key provided" in text for text in [*routed, log, str(state)])
    for part in (KEY, "abcd", "4f9a"):
        assert part not in everything
