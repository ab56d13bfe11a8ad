"""The client for scripts and notebooks: the same, without `await`."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from client import InvalidRequest, NotFound, StreamLost, SyncAgentClient, Token
from client.cli.local_server import LocalServer
from tests.model_server import ModelServer, Reply

ROOT = Path(__file__).parents[2]
THREAD = "steadystream"  # the name of the client's own

SCRIPT = """
import sys
from client import SyncAgentClient, Token
with SyncAgentClient(sys.argv[1]) as agent:
    for event in agent.stream("Hello."):
        if isinstance(event, Token):
            print(event.content, end="")
    answer = agent.ask("And again?")
    print("|", answer, "|", answer.status)
"""

STOPPED = """
import sys
from client import SyncAgentClient, Token
with SyncAgentClient(sys.argv[1]) as agent:
    try:
        with agent.stream("A long story.") as run:
            for event in run:
                if isinstance(event, Token):
                    print("first", flush=True)
    except KeyboardInterrupt:
        print(run.done.status, run.text().startswith("word0"), run.thread_id, flush=True)
"""


@pytest.fixture
def sync(server: LocalServer) -> Iterator[SyncAgentClient]:
    with SyncAgentClient(server.url) as agent:
        yield agent


def test_a_run_is_iterated_and_asked(sync: SyncAgentClient) -> None:
    """Events, text, state and errors are those of the asynchronous client."""
    with sync.stream("Hello.") as run:
        tokens = [event.content for event in run if isinstance(event, Token)]
    assert "".join(tokens) == run.text() == "You said: Hello."
    assert run.done.status == "success"
    assert len(run.final_state()["messages"]) == 2
    with pytest.raises(InvalidRequest, match="read to their end"):
        list(run)
    with pytest.raises(InvalidRequest, match="empty"):
        sync.stream(" ")


def test_threads_runs_and_decisions(sync: SyncAgentClient) -> None:
    """Threads, runs, memories and what continues a run are had in the same way."""
    thread_id = sync.threads.create()
    answer = sync.ask("Hello.", thread_id=thread_id)
    assert sync.threads.messages(thread_id) == answer.state["messages"]
    assert [run["status"] for run in sync.runs.list(thread_id)] == ["success"]
    assert sync.runs.join(thread_id, answer.run_id).text() == answer.text
    assert sync.regenerate(thread_id).text() == "You said: Hello."
    assert "graph_id" in sync.assistants()[0]
    sync.threads.delete(thread_id)
    with pytest.raises(NotFound):
        sync.threads.get(thread_id)


def test_a_decision_is_made(sync: SyncAgentClient) -> None:
    """What a run waits for is decided, and the rest of it read."""
    run = sync.stream('call save_note {"title": "Sync", "text": "x"}')
    run.text()
    assert run.interrupts
    rest = run.decide({"type": "reject"})
    rest.text()
    assert rest.done.status == "success"


def test_two_threads_at_once(sync: SyncAgentClient) -> None:
    """One client may be used from several threads at a time."""
    texts: dict[int, str] = {}

    def ask(number: int) -> None:
        texts[number] = sync.ask(f"Number {number}.").text

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert texts == {number: f"You said: Number {number}." for number in range(4)}


def test_leaving_early_leaves_nothing_behind(server: LocalServer, model: ModelServer) -> None:
    """Who breaks off has no thread and no connection left; the closed client says that it is."""
    model.on("A long one.", Reply(tuple(f"word{n} " for n in range(100)), tokens_per_second=50))
    with SyncAgentClient(server.url) as agent:
        run = agent.stream("A long one.", on_disconnect="cancel")
        for event in run:
            if isinstance(event, Token):
                break
    assert THREAD not in [thread.name for thread in threading.enumerate()]
    model.wait_for(lambda it: it.open_streams == 0, 60.0)
    with pytest.raises(InvalidRequest, match="closed"):
        agent.ask("Hello.")
    with pytest.raises((InvalidRequest, StreamLost)):
        run.text()


def test_a_plain_script(server: LocalServer) -> None:
    """A script needs no event loop of its own, and ends by itself."""
    done = script(SCRIPT, server)
    out, err = done.communicate(timeout=180)
    assert (done.returncode, out, err) == (
        0,
        "You said: Hello.| You said: And again? | success\n",
        "",
    )


def test_a_script_that_closes_nothing_ends(server: LocalServer) -> None:
    """A client that nobody closed does not keep Python from ending."""
    text = (
        "import sys, client; agent = client.SyncAgentClient(sys.argv[1]); print(agent.ask('Hi.'))"
    )
    out, err = script(text, server).communicate(timeout=100)
    assert (out, err) == ("You said: Hi.\n", "")


@pytest.mark.skipif(sys.platform == "win32", reason="there a script gets no SIGINT of its own")
def test_ctrl_c_stops_the_run_and_keeps_the_partial(
    server: LocalServer, model: ModelServer, sync: SyncAgentClient
) -> None:
    """The run ends `stopped` at the server, and its text so far is in the script and the thread."""
    words = tuple(f"word{n} " for n in range(2000))
    model.on("A long story.", Reply(words, tokens_per_second=50))
    done = script(STOPPED, server)
    assert done.stdout is not None
    assert done.stdout.readline() == "first\n"
    done.send_signal(signal.SIGINT)
    out, err = done.communicate(timeout=180)
    told = [line for line in out.splitlines() if line != "first"]
    status, kept, thread_id = told[0].split()
    assert (status, kept, done.returncode, err) == ("stopped", "True", 0, "")
    assert sync.threads.messages(thread_id)[-1]["content"].startswith("word0")
    assert [run["status"] for run in sync.runs.list(thread_id)] == ["interrupted"]


def test_a_notebook(server: LocalServer) -> None:
    """In a kernel a loop runs already, where `asyncio.run` raises; this client works there."""
    nbformat = pytest.importorskip("nbformat")
    nbclient = pytest.importorskip("nbclient")
    cells = [
        "import asyncio\nasync def nothing(): pass\n"
        "work = nothing()\ntry:\n    asyncio.run(work)\n"
        "except RuntimeError:\n    work.close()\n    print('a loop runs')",
        f"from client import SyncAgentClient\nagent = SyncAgentClient({server.url!r})\n"
        "print(agent.ask('Hello.'))",
        "print(len(list(agent.stream('Hi.'))) > 2)\nagent.close()",
    ]
    made = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    nbclient.NotebookClient(
        made, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}
    ).execute()
    told = ["".join(output["text"] for output in cell.outputs) for cell in made.cells]
    assert told == ["a loop runs\n", "You said: Hello.\n", "True\n"]


def script(text: str, server: LocalServer) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", text, server.url],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
