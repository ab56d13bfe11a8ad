"""`steady`, as a program: what it prints, and how it ends."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from client import AgentClient, NotFound, Token
from client.cli.local_server import LocalServer, free_port
from tests.conftest import server_env
from tests.model_server import ModelServer, Reply, ToolCall

MODES = ("values", "updates", "messages", "events")


def steady(
    *words: str, env: dict[str, str] | None = None, typed: str = "", cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Runs `steady` to its end; a project folder that is not ours is found through PYTHONPATH."""
    root = str(Path(__file__).parents[2])
    given = {**os.environ, "PYTHONPATH": root, "COLUMNS": "100", **(env or {})}
    given.pop("LANGGRAPH_URL", None)
    return subprocess.run(
        [sys.executable, "-m", "client.cli.main", *words],
        env=given, input=typed, capture_output=True, text=True, timeout=110, cwd=cwd or root,
    )  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def script(model: ModelServer) -> None:
    call = ToolCall("calculate", {"expression": "6 * 7"})
    model.on("six by seven", Reply(tool_calls=[call]), Reply("That makes [42]."))


@pytest.mark.parametrize("mode", MODES)
def test_each_mode_prints_events_as_json_lines(server: LocalServer, mode: str) -> None:
    """With --json every line is one event, the first `run_started` and the last `done`."""
    ended = steady("run", "six by seven", "--mode", mode, "--json", "--url", server.url)
    events = [json.loads(line) for line in ended.stdout.splitlines()]
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert (events[0]["type"], events[-1]["type"]) == ("run_started", "done")
    assert events[-1]["status"] == "success"
    wanted = {"messages": "token", "events": "event", "updates": "update", "values": "values"}
    assert wanted[mode] in {event["type"] for event in events}


def test_a_person_sees_text_tool_panels_and_figures(server: LocalServer) -> None:
    """Without --json the answer, the call, its arguments, its result and the times are shown."""
    ended = steady("run", "six by seven", "--url", server.url)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for shown in ("calculate", '"expression"', "6 * 7 = 42", "That makes [42].", "first token"):
        assert shown in ended.stdout + ended.stderr


def test_exit_codes_tell_how_it_ended(server: LocalServer) -> None:
    """1: the run failed, 2: wrong use, 3: no server; each with one line and no traceback."""
    outcomes = {
        1: steady("run", "fail 401", "--url", server.url),
        2: steady("run", "hello", "--mode", "sideways", "--url", server.url),
        3: steady("run", "hello", "--url", f"http://127.0.0.1:{free_port()}"),
    }
    for code, ended in outcomes.items():
        assert ended.returncode == code, ended.stdout + ended.stderr
        assert "Traceback" not in ended.stdout + ended.stderr
    assert "OPENAI_API_KEY" in outcomes[1].stderr
    assert "start one" in outcomes[3].stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("run", ""), 2),
        (("run", "hello", "--assistant-id", "nobody"), 1),
        (("run", "hello", "--thread-id", "not-a-uuid"), 2),
        (("run", "hello", "--thread-id", "6f1f7e2c-0000-4000-8000-000000000000"), 1),
        (("threads", "show", "6f1f7e2c-0000-4000-8000-000000000000"), 1),
        (("threads", "show", "nonsense"), 2),
        (("threads", "list", "--limit", "-1"), 2),
    ],
)
def test_bad_input_gets_one_clear_line(
    server: LocalServer, words: tuple[str, ...], code: int
) -> None:
    """Whatever is wrong with the words, there is a line and an exit code, never a traceback."""
    ended = steady(*words, "--url", server.url)
    told = ended.stdout + ended.stderr
    assert (ended.returncode, "Traceback" in told) == (code, False), told
    assert told.strip()


def test_json_errors_are_events_too(server: LocalServer) -> None:
    """With --json a failure is an `error` event followed by `done`."""
    ended = steady("run", "fail 401", "--json", "--url", server.url)
    types = [json.loads(line)["type"] for line in ended.stdout.splitlines()]
    assert types[-2:] == ["error", "done"]


def test_a_conversation_keeps_its_thread(server: LocalServer, model: ModelServer) -> None:
    """`steady chat` sends earlier turns along, and its thread can be read and deleted."""
    ended = steady("chat", "--url", server.url, typed="my name is Ada\nand again\n\n")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    last = [m["content"] for m in model.requests[-1]["messages"] if m["role"] == "user"]
    assert last == ["my name is Ada", "and again"]
    thread = next(w for w in ended.stderr.split() if w.count("-") == 4)
    listed = steady("threads", "list", "--url", server.url).stdout
    assert thread in listed
    shown = steady("threads", "show", thread, "--url", server.url).stdout
    assert "human: my name is Ada" in shown
    assert "next: end" in steady("threads", "history", thread, "--url", server.url).stdout
    assert steady("threads", "delete", thread, "--url", server.url).returncode == 0
    assert steady("threads", "show", thread, "--url", server.url).returncode == 1


def test_the_graph_is_drawn(server: LocalServer) -> None:
    """`steady graph` draws the nodes of the assistant's graph."""
    drawn = steady("graph", "--url", server.url).stdout
    assert all(node in drawn for node in ("__start__", "model", "tools", "__end__"))


def test_the_doctor_examines_a_server(server: LocalServer, model: ModelServer) -> None:
    """It reports each check, leaves nothing in the server's log; this one has several jobs."""
    written = server.log.stat().st_size
    words = " ".join(f"number{n}" for n in range(30))
    model.on("Count from one to thirty in words.", Reply(words, tokens_per_second=60))
    model.on("Reply with the single word: ready", Reply("ready", first_token_seconds=1.5))
    told = steady("doctor", "--url", server.url).stdout
    for check in (
        "reachable",
        "auth",
        "assistants",
        "it answers, its first text after",
        "job slots",
        "buffering",
        "resumable",
        "heartbeats",
        "OpenAI's (/v1/models): open",
    ):
        assert check in told
    assert "4 runs at once" in told
    with server.log.open(errors="replace") as log:
        log.seek(written)
        assert "Traceback" not in log.read()


async def test_without_a_url_a_local_server_lives_as_long_as_the_command(
    model: ModelServer, tmp_path: Path
) -> None:
    """`steady run` starts a server, uses it, and leaves no process behind."""
    ended = await asyncio.to_thread(
        steady, "run", "six by seven", "--json", env=server_env(model.url), cwd=tmp_path
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert json.loads(ended.stdout.splitlines()[-1])["status"] == "success"
    running = [" ".join(p.info["cmdline"] or ()) for p in psutil.process_iter(["cmdline"])]
    assert not [
        words for words in running if "client.cli.serve" in words and str(tmp_path) in words
    ]


def test_chat_asks_for_approval(model: ModelServer, server: LocalServer) -> None:
    """The arguments are shown, the person decides, and the rest of the run follows."""
    note = {"title": "from the terminal", "text": "Hi."}
    calls = [ToolCall("save_note", note)]
    model.on("Save that, terminal.", Reply(tool_calls=calls), Reply("Saved it."))
    for typed, told in (("a\n", "Saved as"), ("r\nno\n", "with reason: no"), ("s\nok\n", "ok")):
        ended = steady("chat", "--url", server.url, typed=f"Save that, terminal.\n{typed}\n")
        assert ended.returncode == 0, ended.stdout + ended.stderr
        assert '"title": "from the terminal"' in ended.stderr
        assert told in ended.stderr
        assert "Saved it." in ended.stdout


def test_what_waits_is_decided_by_whoever_comes_later(
    model: ModelServer, server: LocalServer
) -> None:
    """A chat that ends at the question leaves it open; a wrong answer is asked for again."""
    call = ToolCall("save_note", {"title": "later", "text": "Hi."})
    model.on("Save that later.", Reply(tool_calls=[call]), Reply("Saved it."))
    ended = steady("chat", "--url", server.url, typed="Save that later.\n")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    thread = next(w for w in ended.stderr.split() if w.count("-") == 4)
    ended = steady("chat", "--thread-id", thread, "--url", server.url, typed="s\n\na\n\n")
    assert "responds: say what" in ended.stderr
    assert "Saved as later" in ended.stderr


def test_chat_takes_edited_arguments(model: ModelServer, server: LocalServer) -> None:
    """An edit asks for each argument; an empty line keeps it."""
    calls = [ToolCall("save_note", {"title": "edited", "text": "Before."})]
    model.on("Save and edit.", Reply(tool_calls=calls), Reply("Saved it."))
    ended = steady("chat", "--url", server.url, typed="Save and edit.\ne\nrenamed\n\n\n")
    assert "Saved as renamed.md" in ended.stderr, ended.stdout + ended.stderr


@pytest.fixture
async def waiting_thread(model: ModelServer, server: LocalServer) -> str:
    """A thread where a note waits for a person."""
    call = ToolCall("save_note", {"title": "decided", "text": "Hi."})
    model.on("Save and wait.", Reply(tool_calls=[call]), Reply("Saved it."))
    async with AgentClient(server.url) as agent:
        run = agent.stream("Save and wait.")
        await run.text()
        return str(run.thread_id)


def test_decide_asks_for_what_waits(waiting_thread: str, server: LocalServer) -> None:
    """`steady decide` shows the arguments, asks, and streams the rest; then nothing waits."""
    assert steady("decide", waiting_thread, "--url", server.url).returncode == 130
    ended = steady("decide", waiting_thread, "--url", server.url, typed="s\nby hand\n")
    assert ended.returncode == 0, ended.stdout + ended.stderr
    for shown in ('"title": "decided"', "by hand", "Saved it."):
        assert shown in ended.stdout + ended.stderr
    again = steady("decide", waiting_thread, "--url", server.url)
    assert (again.returncode, "waits for a decision" in again.stderr) == (1, True)


def test_decide_takes_decisions(waiting_thread: str, server: LocalServer) -> None:
    """`--decisions` needs no terminal; what does not fit is told, and changes nothing."""
    here = ("decide", waiting_thread, "--json", "--url", server.url, "--decisions")
    for wrong, code in (("{", 2), ("{}", 2), ("[]", 1)):
        assert steady(*here, wrong).returncode == code
    ended = steady(*here, '[{"type": "respond", "message": "by hand"}]')
    events = [json.loads(line) for line in ended.stdout.splitlines()]
    assert events[-1]["status"] == "success", ended.stdout + ended.stderr


async def test_stop_ends_what_another_program_runs(server: LocalServer) -> None:
    """`steady stop` stops a thread's run, whoever began it, and says so where none runs."""
    async with AgentClient(server.url) as agent:
        thread_id = await agent.threads.create()
        async with agent.stream("stream 900 tokens at 20 per second", thread_id=thread_id) as run:
            async for event in run:
                if isinstance(event, Token):
                    break
            told = await asyncio.to_thread(steady, "stop", thread_id, "--url", server.url)
            assert (told.returncode, told.stdout) == (0, "Stopped 1.\n")
            assert await run.text()
        assert run.done
        assert run.done.status == "stopped"
        told = await asyncio.to_thread(steady, "stop", thread_id, "--url", server.url)
        assert (told.returncode, told.stdout) == (0, "Stopped 0.\n")


def started(*words: str, stdin: int | None = None) -> subprocess.Popen[str]:
    root = str(Path(__file__).parents[2])
    env = {**os.environ, "PYTHONPATH": root, "COLUMNS": "100", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "client.cli.main", *words],
        cwd=root,
        env=env,
        text=True,
        stdin=stdin,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def read_until(running: subprocess.Popen[str], words: str) -> str:
    assert running.stdout
    told = ""
    while words not in told:
        piece = running.stdout.read(1)
        assert piece, told
        told += piece
    return told


async def test_nothing_said_leaves_no_thread(server: LocalServer) -> None:
    """A conversation that is left at once, or begun anew, leaves no empty thread behind."""
    ended = await asyncio.to_thread(
        steady, "chat", "--url", server.url, typed="/new\nhello\n/new\n\n"
    )
    assert ended.returncode == 0
    ids = list(dict.fromkeys(re.findall(r"thread ([0-9a-f-]{36})", ended.stderr)))
    assert len(ids) == 3
    async with AgentClient(server.url) as agent:
        assert len(await agent.threads.messages(ids[1])) == 2
        for unused in (ids[0], ids[2]):
            with pytest.raises(NotFound):
                await agent.threads.messages(unused)


async def test_ctrl_c_stops_the_run(server: LocalServer) -> None:
    """The run is stopped, what it said is on the thread, and the exit code is 130."""
    question = "stream 900 tokens at 20 per second"
    running = started("run", question, "--url", server.url)
    await asyncio.to_thread(read_until, running, "word9")
    running.send_signal(signal.SIGINT)
    told, _ = await asyncio.to_thread(running.communicate, None, 100)
    assert running.returncode == 130
    assert "stopped" in told
    thread_id = told.split("thread ")[1].split()[0]
    async with AgentClient(server.url) as agent:
        _, answer = await agent.threads.messages(thread_id)
    assert answer["response_metadata"]["finish_reason"] == "stopped"
    assert " word9" in answer["content"]


async def test_a_second_ctrl_c_leaves_at_once(server: LocalServer) -> None:
    """Whoever insists does not wait for the server, which here has stopped answering."""
    running = started("run", "stream 900 tokens at 20 per second", "--url", server.url)
    await asyncio.to_thread(read_until, running, "word9")
    assert server.process
    server.process.send_signal(signal.SIGSTOP)
    try:
        running.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            await asyncio.to_thread(running.wait, 1)
        running.send_signal(signal.SIGINT)
        assert await asyncio.to_thread(running.wait, 60) == 130
    finally:
        server.process.send_signal(signal.SIGCONT)


async def test_ctrl_c_at_the_prompt_leaves(server: LocalServer) -> None:
    """Nothing runs that could be stopped: one is enough, and nothing more has to be typed."""
    running = started("chat", "--url", server.url, stdin=subprocess.PIPE)
    await asyncio.to_thread(read_until, running, "you")
    running.send_signal(signal.SIGINT)
    assert await asyncio.to_thread(running.wait, 60) == 130
