"""I/O. Write the blocks of README.md and docs/ that the code makes: the table of commands, and what commands print.

A block is between `<!-- NAME -->` and `<!-- end -->`; a test compares the pages with the code. `make readme` runs it.
"""

from __future__ import annotations

import gzip
import json
import re
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from viplake import errors
from viplake.cli import app

ROOT = Path(__file__).parents[1]


def commands() -> str:
    """Every command and what its help says first."""
    rows = ["| command | does |", "|---|---|"]
    found = [name for name in app if not name.startswith("-")]
    for name in sorted(found, key=lambda name: (app[name].group[0].sort_key, app[name].sort_key)):
        does = " ".join(app[name].help.partition("\n\n")[0].split())
        rows.append(f"| `viplake {name}` | {does} |")
    return "\n".join(rows)


VOYAGE = [("VoyageNo", "int"), ("VesselCode", "nvarchar(12)")]
WIDER = [("VoyageNo", "bigint"), ("VesselCode", "nvarchar(12)"), ("CharterType", "nvarchar(20)")]
DRIFT = {
    "20220509": {"Voyage": VOYAGE, "VoyageNote": [("Text", "nvarchar(max)")]},
    "20220510": {"Voyage": WIDER, "VoyageNote": [("Text", "nvarchar(max)")]},
    "20220511": {"Voyage": WIDER, "CarbonIntensity": [("Cii", "decimal(9, 4)")]},
}
"""The tables of a schema, with their columns, from a day on."""


def schema() -> str:
    """What `viplake schema` prints of a lake whose schema changed twice."""
    with TemporaryDirectory() as folder:
        for day, tables in DRIFT.items():
            columns = {table: [{"Name": name, "Type": kind} for name, kind in of] for table, of in tables.items()}
            entries = [{"DataObjectName": table, "Columns": of} for table, of in columns.items()]
            for hour in range(24):
                place = Path(folder, "IMOSDL", "Hourly", day, f"{hour:02d}")
                place.mkdir(parents=True)
                (place / "_MasterTableSchema.json").write_text(json.dumps(entries), encoding="utf-8")
        lake = ("--environment", "Prod", "--lake", Path(folder).as_uri())

        def run(typed: str) -> str:
            command = [sys.executable, "-m", "viplake", *typed.split(), *lake]
            done = subprocess.run(command, cwd=folder, env={}, capture_output=True, text=True, check=True)  # noqa: S603 - ours
            return done.stdout

        run("observe --from 2022-05-09T00 --to 2022-05-11T23")
        told = [f"$ viplake {typed}\n{run(typed)}" for typed in ("schema", "schema --at 2022-05-11T13")]
    return "```text\n" + "\n".join(told) + "```"


VOYAGES = [
    {"VoyageNo": 1041, "VesselCode": "CWREN", "CharterType": "TC out", "Freight": 812500.0},
    {"VoyageNo": 1042, "VesselCode": "CTERN", "CharterType": "Spot", "Freight": 640000.5},
    {"VoyageNo": 1043, "VesselCode": "CWREN", "CharterType": "Spot", "Freight": None},
]
ASKED = (
    "select VesselCode, count(*) as voyages, sum(Freight) as freight from Voyage group by all order by all",
    "select hour, outcome, files, bytes from historical_run_metrics order by hour desc limit 3",
)


def query() -> str:
    """What `viplake query` prints of a lake with one proven Hour."""
    with TemporaryDirectory() as folder:
        place = Path(folder, "IMOSDL", "Hourly", "20220511", "13")
        place.mkdir(parents=True)
        columns = [{"Name": name, "Type": kind} for name, kind in (*WIDER, ("Freight", "decimal(18, 2)"))]
        files = {
            "_MasterTableSchema.json": [{"DataObjectName": "Voyage", "Columns": columns}],
            "Voyage_0001.json": VOYAGES,
            "_Receipt.json": {},
        }
        for name, content in files.items():
            (place / name).write_text(json.dumps(content), encoding="utf-8")
        lake = ("--environment", "Prod", "--lake", Path(folder).as_uri())

        def run(*typed: str) -> str:
            command = [sys.executable, "-m", "viplake", *typed, *lake]
            done = subprocess.run(command, cwd=folder, env={}, capture_output=True, text=True, check=True)  # noqa: S603 - ours
            return "\n".join(line.rstrip() for line in (done.stdout + done.stderr).splitlines() if line.strip())

        run("observe", "--from", "2022-05-11T12", "--to", "2022-05-11T13")
        told = [f'$ viplake query "{sql}"\n{run("query", sql)}' for sql in ASKED]
        csv = '$ viplake query "from Voyage" --since 2022-05-01T00 --csv\n'
        csv += run("query", "from Voyage", "--since", "2022-05-01T00", "--csv")
    return "```text\n" + "\n\n".join([*told, csv]) + "\n```"


INSIDE = {
    "Invoice": ([("InvoiceId", "int"), ("Amount", "decimal(18, 2)"), ("DueDate", "date")], "InvoiceId"),
    "Vessel": ([("ImoNumber", "int"), ("VesselName", "nvarchar(40)"), ("Dwt", "decimal(9, 1)")], "ImoNumber"),
    "Voyage": ([("VoyageNo", "int"), ("VesselCode", "nvarchar(12)"), ("LastUpdateGMT", "datetime")], "VoyageNo"),
}
FOUND: dict[str, list[dict[str, object]]] = {
    "Invoice": [
        {"InvoiceId": 7, "Amount": 1200.5, "DueDate": "2022-06-01"},
        {"InvoiceId": 7, "Amount": "1,200.50", "DueDate": "2022-06-31"},
    ],
    "Vessel": [{"ImoNumber": 9321483, "VesselName": "Baltic Wren", "CiiRating": "C"}],
    "Voyage": [
        {"VoyageNo": n, "VesselCode": "CWREN", "LastUpdateGMT": f"2022-05-1{n // 24}T{n % 24:02}:30:00"}
        for n in range(30)
    ],
}


def content() -> str:
    """What `viplake content` prints of a lake with something wrong inside."""
    with TemporaryDirectory() as folder:
        place = Path(folder, "IMOSDL", "Hourly", "20220511", "13")
        place.mkdir(parents=True)
        entries = [
            {
                "DataObjectName": table,
                "Columns": [{"Name": name, "Type": kind, "IsKey": name == key} for name, kind in columns],
            }
            for table, (columns, key) in INSIDE.items()
        ]
        (place / "_MasterTableSchema.json").write_text(json.dumps(entries), encoding="utf-8")
        for table, rows in FOUND.items():
            (place / f"{table}_0001.json.gz").write_bytes(gzip.compress(json.dumps(rows).encode(), mtime=0))
        (place / "Voyage_0002.json.gz").write_bytes((place / "Voyage_0001.json.gz").read_bytes()[:100])
        command = [sys.executable, "-m", "viplake", "content", "--no-keep", "--environment", "Prod"]
        done = subprocess.run(  # noqa: S603 - ours
            [*command, "--lake", Path(folder).as_uri()], cwd=folder, env={}, capture_output=True, text=True, check=False
        )
        if done.returncode != errors.CHECKS_FAILED:
            raise SystemExit(done.stderr)
    return f"```text\n$ viplake content\n{done.stdout}```"


PAGES = {
    "README.md": {"commands": commands},
    "docs/content.md": {"content": content},
    "docs/schema.md": {"schema": schema},
    "docs/query.md": {"query": query},
}
"""Page -> the blocks in it and what writes each."""


def filled(page: str, text: str) -> str:
    """The text of a page with its blocks as the code has them now."""
    for name, block_of in PAGES[page].items():
        block = f"<!-- {name} -->\n\n{block_of()}\n\n<!-- end -->"
        text, count = re.subn(rf"<!-- {name} -->.*?<!-- end -->", lambda _, block=block: block, text, flags=re.DOTALL)
        if count != 1:
            raise SystemExit(f"{page} has no place for the block {name}")
    return text


if __name__ == "__main__":
    for page in PAGES:
        (ROOT / page).write_text(filled(page, (ROOT / page).read_text(encoding="utf-8")), encoding="utf-8")
