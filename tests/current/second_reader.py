"""DuckDB 1.5 with its extension `delta` (delta-kernel), which reads Delta tables in a process of its own.

It has nothing in common with what writes the tables: another implementation of the protocol, another DuckDB. Run as a
program it is that reader: a JSON line with the path of a table in, one with its rows out.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from functools import cache
from pathlib import Path
from typing import Any

import duckdb

READER = Path(__file__).parents[2] / ".reader" / "bin" / "python"


class SecondReader:
    """The reader, as a process."""

    def __init__(self) -> None:
        assert READER.exists(), "run tools/delta-reader first: it installs the second reader"
        self._process = subprocess.Popen(
            [READER, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )

    def digest(self, table: Path) -> Counter[tuple[tuple[str, Any], ...]]:
        """The rows of a table as `TableLake.digest` has them."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(str(table)) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline())
        assert "error" not in answer, answer["error"]
        rows = ({n: v for n, v in zip(answer["names"], row, strict=True) if v is not None} for row in answer["rows"])
        return Counter(tuple(sorted(row.items())) for row in rows)

    def close(self) -> None:
        """End the process."""
        self._process.communicate(timeout=30)


@cache
def second_reader() -> SecondReader:
    """The reader of this test process."""
    return SecondReader()


def _serve() -> None:
    import duckdb_extension_delta  # noqa: PLC0415 - the environment of the tests does not have it

    [extension] = Path(duckdb_extension_delta.__file__).parent.glob("extensions/*/delta.duckdb_extension")
    connection = duckdb.connect()
    connection.execute(f"load '{extension}'")
    connection.execute("set timezone = 'UTC'")
    for line in sys.stdin:
        try:
            result = connection.execute("select columns(*)::varchar from delta_scan($1)", [json.loads(line)])
            names = [name for name, *_ in result.description]
            answer: dict[str, Any] = {"names": names, "rows": result.fetchall()}
        except duckdb.Error as error:
            answer = {"error": str(error)}
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
