"""`steady` as a person sees it: in a narrow and a wide terminal, and through pipes."""

import asyncio
import contextlib
import json
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from client import AgentClient, InvalidRequest
from client.cli.local_server import LocalServer, free_port
from client.cli.output import plain
from tests.model_server import ModelServer, Reply, ToolCall
from tests.pseudo_terminal import PseudoTerminal
from tests.users import token_of

ROOT = Path(__file__).parents[2]
STEADY = (sys.executable, "-m", "client.cli.main")
WIDTHS = pytest.mark.parametrize("columns", [40, 120])
# writes the clipboard, sets the title, clears the screen, recolours with a C1 control, reorders
HOSTILE = "go\x1b]52;c;aGk=\x07od\x1b]0;owned\x07 \x1b[2J\x9b31m \u202etxt.exe \x7f\r\n\tend"
NEXT = "run [0-9a-f].*you>"  # the ids of a run are its last line
NOTE = ToolCall("save_note", {"title": "seen", "text": HOSTILE})
MARKDOWN = "# Title\n\nSome *text*.\n\n- one\n- two\n\n```python\n1\n\n2\n```\n\nThe end."


@pytest.fixture(scope="module", autouse=True)
def script(model: ModelServer) -> None:
    call = ToolCall("calculate", {"expression": "6 * 7"})
    model.on("six by seven", Reply(tool_calls=[call]), Reply("That makes [42]."))
    model.on("hostile answer", Reply(HOSTILE))
    model.on("hostile tool", Reply(tool_calls=[ToolCall("calculate", {"expression": HOSTILE})]),
             Reply("Done."))  # fmt: skip
    model.on("note seen", Reply(tool_calls=[NOTE]), Reply("Saved it."))
    model.on("some markdown", Reply(MARKDOWN, tokens_per_second=60))


def piped(
    *words: str | bytes, stdin: bytes = b"", env: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    given = {**os.environ, "PYTHONPATH": str(ROOT), **(env or {})}
    given.pop("LANGGRAPH_URL", None)
    return subprocess.run(
        [*STEADY, *words], env=given, input=stdin, capture_output=True, timeout=100, cwd=ROOT
    )


def one_line(text: bytes) -> str:
    told = text.decode()
    assert "Traceback" not in told
    assert told.count("\n") == 1, told
    return told


@pytest.mark.parametrize("what", ["hostile answer", "hostile tool", "note seen"])
@WIDTHS
def test_no_escape_sequence_of_a_model_reaches_the_terminal(
    server: LocalServer, what: str, columns: int
) -> None:
    """What a model or a tool sends is shown as text: only our own styles are sent."""
    steps = ((r"result\?", "s\n"), (r"the result\?", "by hand\n"))
    terminal = PseudoTerminal(
        *STEADY, "run", what, "--url", server.url,
        columns=columns, steps=steps if what == "note seen" else (),
    )  # fmt: skip
    assert terminal.code == 0, terminal.shown
    styles = re.compile(rb"\x1b\[(?:[0-9;]*m|\?25[hl]|[0-9]*[AK])")  # colours, a spinner
    left = styles.sub(b"", terminal.raw).decode()
    assert not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e]", left), repr(left)


@pytest.mark.parametrize("what", ["hostile answer", "hostile tool"])
def test_no_escape_sequence_goes_into_a_pipe(server: LocalServer, what: str) -> None:
    """The same through a pipe; with `--json` it is all there, escaped as JSON."""
    run = ("run", what, "--url", server.url)
    done = piped(*run)
    written = (done.stdout + done.stderr).decode()
    assert not re.search(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e]", written), repr(written)
    events = [json.loads(line) for line in piped(*run, "--json").stdout.splitlines()]
    texts = "".join(e.get("content", "") + json.dumps(e.get("args", "")) for e in events)
    assert json.dumps(HOSTILE)[1:-1] in texts or HOSTILE in texts


def test_text_stays_as_it_is() -> None:
    """Letters of any script, emoji with joiners, tabs and line breaks are text."""
    text = "naïve Ω 中文 العربية 👩\u200d💻 \u200c\ta\n"
    assert plain(text) == text
    assert plain("a\x1b[2Jb\x9bc\u202ed\re") == "a␛[2Jb<U+009B>c<U+202E>de"


def test_the_answer_alone_is_on_stdout(server: LocalServer) -> None:
    """Tool calls, figures and ids go to stderr; so what a script captures is the answer."""
    done = piped("run", "six by seven", "--url", server.url)
    assert done.stdout == b"That makes [42].\n"
    for shown in (b"calculate", b"first token", b"thread ", b"  run "):
        assert shown in done.stderr


def test_an_answer_that_was_cut_says_so(server: LocalServer, model: ModelServer) -> None:
    """An answer that ended at the model's limit is said to be cut."""
    model.on("too long", Reply("It goes on and", finish_reason="length"))
    done = piped("run", "too long", "--url", server.url)
    assert b"cut at the model's limit" in done.stderr


@pytest.mark.parametrize("words", [("-",), ()])
def test_a_pipe_is_the_question(server: LocalServer, words: tuple[str, ...]) -> None:
    """`-`, or no QUESTION and a pipe: stdin is asked, with all of its lines."""
    done = piped("run", *words, "--url", server.url, stdin="one\n\ntwo é\n".encode())
    assert done.stdout.decode() == "You said: one\n\ntwo é\n"


def test_text_that_is_not_utf_8_is_one_line(server: LocalServer) -> None:
    """In an argument, on stdin and in a chat, which goes on."""
    url = ("--url", server.url)
    for done in (piped("run", b"\xff\xfe", *url), piped("run", "-", *url, stdin=b"\xff\xfe")):
        assert done.returncode == 2
        assert "UTF-8" in one_line(done.stderr)
    done = piped("chat", *url, stdin=b"\xff\xfe\nhello again\n\n")
    assert (done.returncode, b"Traceback" in done.stderr) == (0, False)
    assert b"cannot be written as JSON" in done.stderr
    assert b"You said: hello again" in done.stdout


def test_output_that_is_not_utf_8(server: LocalServer) -> None:
    """What an encoding does not have is replaced, and escaped in JSON."""
    env = {"PYTHONIOENCODING": "latin-1"}
    assert piped("graph", "--url", server.url, env=env).returncode == 0
    done = piped("run", "snowman ☃", "--json", "--url", server.url, env=env)
    said = [e["content"] for e in map(json.loads, done.stdout.splitlines()) if e["type"] == "token"]
    assert "".join(said) == "You said: snowman ☃"


def test_what_no_request_can_carry_is_one_line(server: LocalServer) -> None:
    """A token with a letter that is not ASCII; a context that is no JSON, or no object."""
    run = ("run", "hello", "--url", server.url)
    for words, env in (
        (run, {"STEADY_TOKEN": "tök"}),
        ((*run, "--context", "{"), {}),
        ((*run, "--context", "[]"), {}),
    ):
        done = piped(*words, env=env)
        assert done.returncode == 2
        one_line(done.stderr)


async def test_the_client_refuses_what_no_request_can_carry(agent: AgentClient) -> None:
    """Half a surrogate pair, NaN, a key that is no UUID: an error of the client, and no run."""
    for message, options in (
        ("\ud83d", {}),
        ("hello", {"context": {"temperature": float("nan")}}),
        ("hello", {"idempotency_key": "mine"}),
        ("hello", {"idempotency_key": "\ud83d"}),
    ):
        with pytest.raises(InvalidRequest):
            agent.stream(message, **options)  # type: ignore[arg-type]
    with pytest.raises(InvalidRequest, match="token"):
        AgentClient("http://127.0.0.1:1", token="tök")


@pytest.mark.parametrize("words", [("chain", "hello"), ("token", "ada"), ("run", "hello")])
def test_a_setting_that_does_not_fit_is_one_line(words: tuple[str, ...], tmp_path: Path) -> None:
    """Whatever reads the server's settings says which variable is wrong."""
    done = piped(*words, env={"STEADY_FRAME_SECONDS": "abc"})
    assert done.returncode in (2, 3)
    told = done.stderr.decode().removeprefix("steady: starting a local server…\n").encode()
    assert "STEADY_FRAME_SECONDS" in one_line(told)


def test_a_token_is_made_from_the_settings_file(tmp_path: Path) -> None:
    """`steady token` reads the settings where the server does: in the environment and `.env`."""
    file = tmp_path / "settings"
    file.write_text(f"STEADY_JWT_SECRET={'s' * 32}\n")
    done = piped("token", "ada", env={"STEADY_ENV_FILE": str(file)})
    assert (done.returncode, done.stdout.count(b".")) == (0, 2), done.stderr


@pytest.fixture
def web_server() -> Iterator[str]:
    """Another program that speaks HTTP."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *values: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Quiet) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def closing_port() -> Iterator[str]:
    """A port that takes every connection, and closes it."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:

        def close_all() -> None:
            while True:
                try:
                    listener.accept()[0].close()
                except OSError:
                    return

        threading.Thread(target=close_all, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


COMMANDS = [("run", "hello"), ("chat",), ("threads", "list"), ("graph",), ("doctor",), ("bench",)]


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_another_server_is_told_so(web_server: str, words: tuple[str, ...]) -> None:
    """What is no LangGraph server is not asked for runs: one line, and exit code 3."""
    done = piped(*words, "--url", web_server)
    assert done.returncode == 3
    assert "no LangGraph server" in one_line(done.stderr)


def test_a_port_that_closes_is_told_soon(closing_port: str) -> None:
    """It is tried for a few seconds, which is said; then there is no server, with exit code 3."""
    done = piped("run", "hello", "--url", closing_port)
    assert done.returncode == 3
    told = done.stderr.decode().splitlines()
    assert [line for line in told if "trying again" in line]
    assert "No LangGraph server answers" in told[-1]


def test_a_port_that_is_silent_is_told_soon() -> None:
    """A server that takes the connection and says nothing is told of while it is waited for."""
    with closing(socket.create_server(("127.0.0.1", 0))) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        waiting = subprocess.Popen(
            [*STEADY, "run", "hello", "--url", url], stderr=subprocess.PIPE, cwd=ROOT
        )
        assert waiting.stderr is not None
        with waiting:
            line = waiting.stderr.readline().decode()
            waiting.kill()
    assert line == f"steady: {url} does not answer now; trying again…\n"


def test_a_question_in_many_words_is_told_to_need_quotes() -> None:
    """A question that the shell has cut into words is one line that says what to do."""
    done = piped("run", "hello", "world")
    assert done.returncode == 2
    assert "in quotes. See" in one_line(done.stderr)


@pytest.mark.parametrize(
    "url", ["http://", "ftp://a", "http://[::1", "http://a:99999", "http://a:b", "a b", "://", ""]
)
def test_a_url_that_is_none_is_wrong_use(url: str) -> None:
    """One line that shows what a URL looks like, and exit code 2."""
    done = piped("run", "hello", "--url", url)
    assert (done.returncode, "http://127.0.0.1:2024" in one_line(done.stderr)) == (2, True)


def test_a_url_may_leave_out_its_scheme(server: LocalServer) -> None:
    """`127.0.0.1:2024` is what people type."""
    done = piped("run", "hello", "--url", server.url.removeprefix("http://"))
    assert done.stdout == b"You said: hello\n"


async def test_a_failure_names_its_run_which_can_be_joined(server: LocalServer) -> None:
    """The ids are on stderr, as the command that shows the run again; so is the failure there."""
    done = await asyncio.to_thread(piped, "run", "fail 401", "--url", server.url)
    assert (done.returncode, done.stdout) == (1, b"")
    _, _, words = done.stderr.decode().partition("steady join ")
    again = await asyncio.to_thread(piped, "join", *words.split(), "--url", server.url)
    assert again.returncode == 1
    assert "OPENAI_API_KEY" in again.stderr.decode()


@WIDTHS
def test_a_run_is_joined(server: LocalServer, columns: int) -> None:
    """`steady join THREAD` shows the thread's last run from its beginning."""
    done = piped("run", "six by seven", "--url", server.url)
    thread_id = done.stderr.decode().split("thread ")[1].split()[0]
    again = piped("join", thread_id, "--url", server.url)
    assert (again.returncode, again.stdout) == (0, done.stdout)
    terminal = PseudoTerminal(*STEADY, "join", thread_id, "--url", server.url, columns=columns)
    assert terminal.code == 0
    assert "That makes [42]." in terminal.lines
    assert max(map(len, terminal.lines)) <= columns or columns == 40  # ids are not broken


@WIDTHS
def test_a_person_at_a_terminal_is_asked_once(server: LocalServer, columns: int) -> None:
    """The call is shown once; the decision is asked for, and the rest of the run follows."""
    terminal = PseudoTerminal(
        *STEADY, "run", "note seen", "--url", server.url,
        columns=columns, steps=((r"result\?", "r\n"), (r"empty\)\?", "not now\n")),
    )  # fmt: skip
    assert terminal.code == 0, terminal.shown
    assert terminal.shown.count('"title": "seen"') == 1
    assert "Saved it." in terminal.lines


@pytest.mark.parametrize("env", [{}, {"NO_COLOR": "1"}], ids=["colours", "no colours"])
@WIDTHS
def test_what_waits_is_decided_in_a_terminal(
    server: LocalServer, columns: int, env: dict[str, str]
) -> None:
    """`steady decide` shows the arguments once, takes edited ones, and streams the rest."""
    done = piped("run", "note seen", "--url", server.url)
    thread_id = done.stderr.decode().split("thread ")[1].split()[0]
    terminal = PseudoTerminal(
        *STEADY, "decide", thread_id, "--url", server.url, columns=columns, env=env,
        steps=((r"result\?", "e\n"), (r"title .*\]: ", "other\n"), (r"text .*\]: ", "\n")),
    )  # fmt: skip
    assert terminal.code == 0, terminal.shown
    assert terminal.shown.count('"title": "seen"') == 1
    assert "Saved as other" in terminal.shown
    assert "Saved it." in terminal.lines
    assert bool(re.search(rb"\x1b\[[0-9;]*3[0-8]", terminal.raw)) is not bool(env)


def test_without_a_terminal_it_is_said_how_to_decide(server: LocalServer) -> None:
    """The exit code is 4, and the command that decides is on stderr; it works as printed."""
    done = piped("run", "note seen", "--url", server.url)
    assert (done.returncode, done.stdout) == (4, b"")
    told = done.stderr.decode()
    assert told.count("waits for a decision") == 1
    command = next(line for line in told.splitlines() if line.startswith("to decide: "))
    words = command.removeprefix("to decide: steady ").split()
    decided = piped(*words, "--decisions", '[{"type": "approve"}]', "--url", server.url)
    assert (decided.returncode, decided.stdout) == (0, b"Saved it.\n"), decided.stderr


async def test_a_joined_run_can_be_decided(server: LocalServer, agent: AgentClient) -> None:
    """`decide` on a run that was joined goes on with the assistant and modes of that run."""
    run = agent.stream("note seen", modes=("updates",))
    await run.text()
    joined = agent.runs.join(str(run.thread_id), str(run.run_id))
    await joined.text()
    rest = joined.decide([{"type": "approve"}])
    kinds = {type(event).__name__ async for event in rest}
    assert rest.done
    assert (rest.done.status, "Update" in kinds) == ("success", True)


@WIDTHS
def test_a_chat_in_a_terminal(
    model: ModelServer, server: LocalServer, columns: int, tmp_path: Path
) -> None:
    """Lines are edited and kept, a message may have several, Markdown is drawn, /help helps."""
    env = {"HOME": str(tmp_path), "XDG_CONFIG_HOME": str(tmp_path)}
    left, up, escape = "\x1b[D", "\x1b[A", "\x1b"
    steps = (
        ("you>", "/help\n"),
        ("stops an answer.*you>", "some markdown\n"),
        (NEXT, f"helo{left}l\n"),  # the cursor goes back, and the missing letter in
        (NEXT, f"{up}{escape}\rsecond\\\nthird\n"),
        (NEXT, "\n"),
    )
    chat = PseudoTerminal(
        *STEADY, "chat", "--url", server.url, columns=columns, steps=steps, env=env
    )
    assert chat.code == 0, chat.shown
    assert "/regenerate" in chat.shown
    assert "# Title" not in chat.shown
    assert [line.strip() for line in chat.lines if line.strip().startswith("•")][-2:] == [
        "• one",
        "• two",
    ]
    assert "You said: hello\n" in chat.shown
    said = [m["content"] for m in model.requests[-1]["messages"] if m["role"] == "user"]
    assert said == ["some markdown", "hello", "hello\nsecond\nthird"]
    (history,) = tmp_path.rglob("history")
    assert "some markdown" in history.read_text()
    assert history.stat().st_mode & 0o777 == 0o600


def test_a_chat_without_colours(server: LocalServer) -> None:
    """NO_COLOR is obeyed: no colour is sent."""
    steps = (("you>", "six by seven\n"), (NEXT, "\n"))
    env = {"NO_COLOR": "1"}
    chat = PseudoTerminal(*STEADY, "chat", "--url", server.url, columns=80, steps=steps, env=env)
    assert chat.code == 0, chat.shown
    assert "That makes [42]." in chat.shown
    assert not re.search(rb"\x1b\[[0-9;]*(?:3[0-8]|4[0-8]|9[0-7])[0-9;]*m", chat.raw)


@WIDTHS
def test_waiting_is_shown(model: ModelServer, server: LocalServer, columns: int) -> None:
    """A run that has nothing to show yet has a spinner, which goes when there is something."""
    model.on("slow to start", Reply("Here.", first_token_seconds=1.5))
    terminal = PseudoTerminal(*STEADY, "run", "slow to start", "--url", server.url, columns=columns)
    assert "Waiting for the agent…" in terminal.shown
    assert "Here." in terminal.shown.rpartition("Waiting for the agent…")[2]


def test_waiting_is_said_in_a_pipe(model: ModelServer, server: LocalServer) -> None:
    """After some seconds, in one line on stderr."""
    model.on("very slow to start", Reply("Here.", first_token_seconds=6.5))
    done = piped("run", "very slow to start", "--url", server.url)
    assert done.stderr.count(b"waiting for the agent") == 1
    assert done.stdout == b"Here.\n"


async def test_a_run_s_context_comes_from_options(model: ModelServer, server: LocalServer) -> None:
    """`--model`, `--temperature`, `--system` and `--context` reach the model."""
    words = ("run", "which options", "--url", server.url, "--model", "other", "--system", "Be odd.")
    done = await asyncio.to_thread(piped, *words, "--context", '{"temperature": 0.5}')
    assert done.returncode == 0, done.stderr
    asked = next(r for r in reversed(model.requests) if "which options" in json.dumps(r))
    assert (asked["model"], asked["temperature"]) == ("other", 0.5)
    assert "Be odd." in json.dumps(asked["messages"][0])


@WIDTHS
async def test_threads_are_listed_one_a_row(
    server: LocalServer, agent: AgentClient, columns: int
) -> None:
    """A first message of several lines is one row, with a date; with --json one object."""
    run = agent.stream("first line\nsecond line\r\n\x1b[2Jthird")
    await run.text()
    words = ("threads", "list", "--limit", "1", "--url", server.url)
    done = await asyncio.to_thread(piped, *words)
    assert run.thread_id
    assert one_line(done.stdout).startswith(run.thread_id)
    assert "first line second line ␛[2Jthird" in done.stdout.decode()
    assert re.search(r" \d{4}-\d\d-\d\d \d\d:\d\d ", done.stdout.decode())
    row = json.loads((await asyncio.to_thread(piped, *words, "--json")).stdout)
    assert (row["thread_id"], row["status"]) == (run.thread_id, "idle")
    terminal = await asyncio.to_thread(lambda: PseudoTerminal(*STEADY, *words, columns=columns))
    assert terminal.lines[0].startswith(run.thread_id)
    assert len(terminal.lines[0]) <= columns
    assert terminal.lines[1:] == [""]


def test_empty_lists_say_so(guarded: LocalServer) -> None:
    """On stderr, so that a script reads nothing."""
    env = {"STEADY_TOKEN": token_of("nobody-yet")}
    for words, told in ((("threads", "list"), b"no threads"), (("memory", "list"), b"no memories")):
        done = piped(*words, "--url", guarded.url, env=env)
        assert (done.returncode, done.stdout) == (0, b""), done.stderr
        assert told in done.stderr


@WIDTHS
def test_help_is_whole(columns: int) -> None:
    """No line of the help is cut, at any width; nor is it wider than the terminal."""
    for words in ((), ("run",), ("threads",), ("bench",)):
        terminal = PseudoTerminal(*STEADY, *words, "--help", columns=columns)
        assert terminal.code == 0
        assert "..." not in terminal.shown.replace("[ARGS]...", "")
        assert max(map(len, terminal.lines)) <= columns


def threads_of(server: LocalServer, env: dict[str, str] | None = None) -> set[str]:
    done = piped("threads", "list", "--json", "--limit", "1000", "--url", server.url, env=env)
    return {json.loads(line)["thread_id"] for line in done.stdout.splitlines()}


@pytest.mark.parametrize("words", [("doctor",), ("bench", "--runs", "3", "--question", "hi")])
def test_measurements_leave_no_threads(
    guarded: LocalServer, model: ModelServer, words: tuple[str, ...]
) -> None:
    """`steady doctor` and `steady bench` use the person's token, and delete what they made."""
    model.on("Reply with the single word: ready", Reply("ready", first_token_seconds=0.5))
    env = {"STEADY_TOKEN": token_of(f"measures-{words[0]}")}
    done = piped(*words, "--url", guarded.url, env=env)
    assert b"valid token" not in done.stdout + done.stderr
    assert words[0] == "doctor" or done.returncode == 0, done.stdout
    assert threads_of(guarded, env) == set()


@WIDTHS
def test_the_doctor_fits_the_terminal(
    server: LocalServer, model: ModelServer, columns: int
) -> None:
    """Its table is no wider than the terminal."""
    model.on("Reply with the single word: ready", Reply("ready", first_token_seconds=0.5))
    terminal = PseudoTerminal(
        *STEADY, "doctor", "--url", server.url, columns=columns, timeout_seconds=100
    )
    assert "heartbeats" in terminal.shown
    assert max(map(len, terminal.lines)) <= columns


def test_a_local_server_leaves_no_descriptor() -> None:
    """Each server that was made and stopped leaves as many open files as before."""
    port = free_port()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(5):
        LocalServer(port=port).log.unlink()
    assert len(list(Path("/proc/self/fd").iterdir())) == before


def test_who_closes_the_pipe_gets_no_traceback(server: LocalServer) -> None:
    """`steady run ... | head -1` ends in silence."""
    for flag in ("--json", "--mode=updates"):
        line = " ".join([*STEADY, "run", "'stream 200 tokens at 400 per second'", flag])
        done = subprocess.run(
            ["bash", "-c", f"{line} --url {server.url} | head -1"],
            env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, timeout=100, cwd=ROOT,
        )  # fmt: skip
        assert b"Traceback" not in done.stderr
        assert b"Exception" not in done.stderr


async def test_a_server_that_goes_away_is_tried_again_aloud(
    server: LocalServer, model: ModelServer
) -> None:
    """While nothing answers, stderr says that it is tried again; then the answer is whole."""
    port, host = free_port(), server.url.removeprefix("http://")
    listener, writers = await relay(port, host)
    question = "stream 60 tokens at 5 per second"
    running = await asyncio.create_subprocess_exec(
        *STEADY, "run", question, "--url", f"127.0.0.1:{port}",
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    assert running.stdout
    assert running.stderr
    said = await running.stdout.readuntil(b"word9")
    listener.close()
    for writer in writers:
        writer.transport.abort()
    assert b"trying again" in await asyncio.wait_for(running.stderr.readline(), 60)
    listener, _ = await relay(port, host)
    model.hurry()
    rest, _ = await asyncio.wait_for(running.communicate(), 90)
    listener.close()
    assert (said + rest).decode().split() == [f"word{n}" for n in range(60)]


async def relay(port: int, host: str) -> tuple[asyncio.Server, list[asyncio.StreamWriter]]:
    """A port that passes all bytes on to a server, and the connections that are open there."""
    writers: list[asyncio.StreamWriter] = []

    async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = await asyncio.open_connection(*host.split(":"))
        writers.extend([writer, there[1]])
        await asyncio.gather(copy(reader, there[1]), copy(there[0], writer))

    return await asyncio.start_server(serve, "127.0.0.1", port), writers


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_shells_can_complete(shell: str) -> None:
    """The line that the README gives prints a script for each shell."""
    done = piped(env={"_STEADY_COMPLETE": f"{shell}_source"})
    assert (done.returncode, b"steady" in done.stdout) == (0, True)


def test_a_port_that_is_taken_is_one_line(
    server: LocalServer, closing_port: str, tmp_path: Path
) -> None:
    """`make dev` says whose the port seems to be; where it is free, where the page will be."""
    check = (sys.executable, "-m", "client.cli.check_port")
    outcomes = {}
    for port in (server.port, int(closing_port.rpartition(":")[2]), free_port()):
        done = subprocess.run(
            [*check, str(port)],
            capture_output=True,
            cwd=tmp_path,  # the project's own folder may have a server of another test
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            timeout=100,
        )
        outcomes[port] = (done.returncode, done.stdout.decode() + done.stderr.decode())
    (by_us, by_other, free) = outcomes.items()
    assert by_us[1][0] == 1
    assert f"its page at http://127.0.0.1:{by_us[0]}" in one_line(by_us[1][1].encode())
    assert by_other[1][0] == 1
    assert "another program" in one_line(by_other[1][1].encode())
    assert free[1] == (0, f"The page: http://127.0.0.1:{free[0]}\n")
