"""The files at the top of the repository that no other test reads."""

from pathlib import Path

ROOT = Path(__file__).parents[2]


def patterns(name: str) -> set[str]:
    lines = (ROOT / name).read_text(encoding="utf-8").splitlines()
    return {line.strip("/").removeprefix("**/") for line in lines if line and line[0] != "#"}


def test_an_image_leaves_out_what_git_leaves_out() -> None:
    """Keys, threads, notes and environments of a working copy never get into an image."""
    left_out = patterns(".dockerignore")
    of_git = {line for line in patterns(".gitignore") if not line.startswith("tests/")}
    assert of_git - {".venv", ".venv-*"} <= left_out
    assert {"tests", ".venv*", ".git", ".env.*", "*.pem", "*.key", "*.sqlite*"} <= left_out
