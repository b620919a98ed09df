"""The last test: no secret of the suite stands in anything that the suite wrote.

It reads every file below pytest's temporary folder (lakes, ledgers, receipts, reports, outputs) and everything
that tests printed or logged. What may hold a secret is what a test put there as the *input* of the code under test:
a file that is named as a secret, or the test server's own configuration.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING
from urllib.parse import quote

from canary import CANARIES

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import pytest

# Inputs: a secret's file, a server's configuration and its database, a profile that must be refused.
INPUTS = ("secret", "s3.json", "credentials", "refused")
INPUT_FOLDERS = ("seaweed", "ministack")

BEGINNING = b"canary-"


def _forms() -> tuple[bytes, ...]:
    values = [value for value in CANARIES.secret_values() if not value.startswith("CANARYAKID")]
    return tuple({form.encode() for value in values for form in (value, quote(value, safe=""))})


def _place(path: Path) -> str:
    """The folder of a test or a fixture; that of a worker is below the worker's own."""
    return path.parts[1 if path.parts[0].startswith("popen-") else 0]


def _holds(path: Path, forms: tuple[bytes, ...]) -> bool:
    """Whether one of them stands in the file; gigabytes are read once, for what all of them begin with."""
    if path.stat().st_size == 0:
        return False
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(BEGINNING) >= 0 and any(content.find(form) >= 0 for form in forms)


def test_no_canary_is_in_anything_that_the_suite_wrote(
    tmp_path_factory: pytest.TempPathFactory, printed: list[tuple[str, str]], proof: Callable[..., None]
) -> None:
    forms, root = _forms(), tmp_path_factory.getbasetemp()
    written = [
        path
        for path in root.rglob("*")
        if path.is_file()
        and not path.is_symlink()
        and not any(word in path.name for word in INPUTS)
        and not _place(path.relative_to(root)).startswith(INPUT_FOLDERS)
    ]
    assert all(form.startswith(BEGINNING) for form in forms)
    files = [str(path.relative_to(root)) for path in written if _holds(path, forms)]
    tests = [test for test, text in printed if any(form in text.encode() for form in forms)]
    proof("files that tests wrote, searched for secrets", len(written), least=1)
    proof("secrets found in them or in what tests printed", len(files) + len(tests), most=0)
    assert (files, tests) == ([], [])


def test_the_search_finds_a_canary(tmp_path: Path) -> None:
    leak = tmp_path / "leak.log"
    leak.write_text(f"a line, and then {quote(CANARIES.client_secret, safe='')}")
    found = _holds(leak, _forms())
    leak.unlink()
    assert found
