"""Files that are whole or absent, whatever happens meanwhile."""

import hashlib
import secrets
from pathlib import Path


def replace_text(path: Path, text: str) -> None:
    """Write a file under a name of its own first, so that nobody reads half of it."""
    part = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    try:
        part.write_text(text, encoding="utf-8")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def hash_of(path: Path) -> str:
    """The file's sha256, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
