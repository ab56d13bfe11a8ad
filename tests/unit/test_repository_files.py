"""The files at the top of the repository that no other test reads."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from agent.settings import Settings

ROOT = Path(__file__).parents[2]
LEFT_OUT = {"tests", ".venv*", ".git", ".env", ".env.*", "*.pem", "*.key", "*.sqlite*"}


def patterns(name: str) -> set[str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return {line.strip("/").removeprefix("**/") for line in lines if line and line[0] != "#"}


def test_an_image_leaves_out_what_git_leaves_out() -> None:
    """Keys, threads, notes and environments of a working copy never get into an image."""
    left_out = patterns(".dockerignore")
    of_git = {line for line in patterns(".gitignore") if not line.startswith("tests/")}
    assert of_git - {".venv", ".venv-*"} <= left_out
    assert left_out >= LEFT_OUT


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's, each with its arguments in one line."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8").replace("\\\n", "")
    lines = [line for line in text.splitlines() if line and line[0] != "#"]
    return [(line.split()[0], line.split(maxsplit=1)[1]) for line in lines]


def compose() -> dict[str, Any]:
    made: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text(encoding="utf-8"))
    return made


def is_exact(image: str) -> bool:
    """Whether the image's tag is a whole version; PostgreSQL's has two parts."""
    return re.search(r"(postgres:\d+|:v?\d+\.\d+)\.\d+(-\w+)*$", image) is not None


def test_the_image_is_made_of_what_is_there() -> None:
    """Each file that is copied exists and is let through; the start is that of `make scale`."""
    sources = [
        source
        for name, words in instructions()
        if name == "COPY" and "--from" not in words
        for source in words.split()[:-1]
    ]
    assert "agent/scale/requirements.lock" in sources
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert not {part for source in sources for part in Path(source).parts} & patterns(
        ".dockerignore"
    )
    command = json.loads(dict(instructions())["CMD"])
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    flags = re.search(r"uvicorn (agent\.scale\.server:app) .* (--timeout-graceful.*)", makefile)
    assert flags
    assert command[:2] == ["uvicorn", flags[1]]
    assert command[-len(flags[2].split()) :] == flags[2].split()


def test_the_image_is_pinned_has_no_secrets_and_is_not_roots() -> None:
    """An exact base, a user and a health check of its own, and no key in a layer."""
    made = instructions()
    assert all(is_exact(words.split()[0]) for name, words in made if name == "FROM")
    assert [words for name, words in made if name == "USER"] == ["10001"]
    assert "'/ok'" in dict(made)["HEALTHCHECK"]
    given = " ".join(words for name, words in made if name in ("ENV", "ARG"))
    assert not re.search("key|secret|token|password|uri", given, re.IGNORECASE)


def test_compose_gives_settings_that_are_known() -> None:
    """Each variable of the two agents is a setting; secrets come from outside."""
    given = compose()["services"]["agent-1"]["environment"]
    assert {name.lower() for name in given} <= Settings.model_fields.keys()
    assert compose()["services"]["agent-2"]["environment"] == given
    secret = [name for name in given if re.search("KEY|SECRET|TOKEN|DATABASE", name)]
    assert len(secret) == 4
    assert [name for name in secret if "${" not in given[name]] == []


def test_compose_names_what_is_there() -> None:
    """Exact images, files that exist, and processes that HAProxy and Prometheus know, too."""
    services = compose()["services"]
    images = {it["image"] for it in services.values() if "build" not in it}
    assert [image for image in images if not is_exact(image)] == []
    mounted = [each.split(":")[0] for it in services.values() for each in it.get("volumes", ())]
    files = [path for path in mounted if path.startswith("./")]
    assert files
    assert [path for path in files if not (ROOT / path).is_file()] == []
    assert {path for path in mounted if not path.startswith("./")} == compose()["volumes"].keys()
    port = dict(instructions())["EXPOSE"]
    agents = [f"{name}:{port}" for name in services if name.startswith("agent-")]
    for name in ("haproxy.cfg", "prometheus.yml"):
        text = (ROOT / "agent/scale" / name).read_text(encoding="utf-8")
        assert re.findall(rf"agent-\d+:{port}", text) == agents


def test_compose_lets_a_process_end() -> None:
    """Docker kills a process ten seconds after SIGTERM, which is too soon for its streams."""
    grace = compose()["services"]["agent-1"]["stop_grace_period"]
    limit_seconds = Settings.model_fields["steady_shutdown_seconds"].default
    assert int(grace.removesuffix("s")) >= 2 * limit_seconds
