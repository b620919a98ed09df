"""The three original datasets, and which Hour had which schema, recomputed from a raw listing in the plainest way.

Shares no code with viplake.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def the_three_csvs(
    objects: Mapping[str, bytes],
    prefix: str,
    first: datetime,
    last: datetime,
    out_of_scope: frozenset[str] = frozenset(),
) -> dict[str, str]:
    """The text of each CSV by its name, for the hours from `first` to `last`, both included."""
    jobs, tables, sizes = [], [], []
    hour = first
    while hour <= last:
        date = hour.strftime("%Y%m%d-%H")
        folder = prefix + hour.strftime("%Y%m%d/%H/")
        files = {}
        for key, data in objects.items():
            if key.startswith(folder) and "/" not in key[len(folder) :]:
                files[key[len(folder) :]] = data
        others = [name for name in files if name not in ("_PresignedUrls.json", "_Receipt.json")]
        jobs.append([date, "1" if others else "0", "1"])
        counted = [name for name in files if name != "_Receipt.json"]
        sizes.append([date, str(sum(len(files[name]) for name in counted) // 1000), str(len(counted))])
        names = table_names(files.get("_MasterTableSchema.json"))
        if names is not None:
            expected = sorted(name for name in names if name not in out_of_scope)
            delivered = {table_of(name, names) for name in others}
            missing = [name for name in expected if name not in delivered]
            ratio = ""
            if expected:
                ratio = f"{(len(expected) - len(missing)) / len(expected):.4f}"
            tables.append(
                [
                    date,
                    str(len(expected) - len(missing)),
                    str(len(expected)),
                    str(len(missing)),
                    json.dumps(missing, ensure_ascii=False),
                    ratio,
                ]
            )
        hour += timedelta(hours=1)
    return {
        "historical_job_metrics.csv": as_csv(["date", "jobDelivered", "JobExpected"], jobs),
        "historical_table_metrics.csv": as_csv(
            [
                "date",
                "tablesDelivered",
                "tablesExpected",
                "missingTables",
                "missingTablesList",
                "completenessRatio",
            ],
            tables,
        ),
        "historical_job_size.csv": as_csv(["date", "size", "files"], sizes),
    }


def schema_rows(objects: Mapping[str, bytes], prefix: str, first: datetime, last: datetime) -> str:
    """The text of `historical_schema_versions.csv`, for the hours from `first` to `last`, both included."""
    rows = []
    hour = first
    while hour <= last:
        schema = objects.get(prefix + hour.strftime("%Y%m%d/%H/") + "_MasterTableSchema.json")
        if schema is not None:
            names = table_names(schema)
            count = "" if names is None else str(len(names))
            rows.append([hour.strftime("%Y%m%d-%H"), hashlib.sha256(schema).hexdigest(), count])
        hour += timedelta(hours=1)
    return as_csv(["date", "schema", "tables"], rows)


def table_names(schema: bytes | None) -> set[str] | None:
    if schema is None:
        return None
    try:
        entries = json.loads(schema)
        return {entry["DataObjectName"] for entry in entries} if isinstance(entries, list) else None
    except (ValueError, TypeError, KeyError):
        return None


def table_of(name: str, tables: set[str]) -> str | None:
    found = None
    for table in tables:
        if name.startswith((table + "_", table + ".")) and (found is None or len(table) > len(found)):
            found = table
    return found


def as_csv(header: list[str], rows: list[list[str]]) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return out.getvalue()


def first_folder(objects: Mapping[str, bytes], prefix: str) -> datetime:
    """The first hour that has a folder with a file right in it."""
    hours = []
    for key in objects:
        parts = key[len(prefix) :].split("/")
        if key.startswith(prefix) and len(parts) == 3 and parts[0].isdigit() and parts[1].isdigit():
            hours.append(datetime.strptime(parts[0] + parts[1], "%Y%m%d%H").replace(tzinfo=UTC))
    return min(hours)
