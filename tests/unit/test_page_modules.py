"""The page's pure modules, in Node: Markdown, server-sent events, branches."""

import shutil
import subprocess
from pathlib import Path

import pytest

MODULES = Path(__file__).parents[1] / "browser" / "modules"


@pytest.mark.skipif(shutil.which("node") is None, reason="There is no Node.")
@pytest.mark.parametrize("file", sorted(MODULES.glob("*.test.mjs")), ids=lambda file: file.stem)
def test_a_module(file: Path) -> None:
    """Each `node --test` file beside this passes."""
    ran = subprocess.run(["node", "--test", file], capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stdout
