"""An export holds believable tables, in files of exactly the wished-for number and size."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from viplake.simulator import ExportShape
from viplake.simulator.tables import SCHEMA_FILE, TABLES, SimulatedFile, files_by_name, make_export, sized

if TYPE_CHECKING:
    from typing import Any

HOUR = datetime(2022, 5, 10, 13, tzinfo=UTC)
PROD = "onDemandExtract1DayProd"
GB = 1_000_000_000


def _rows(file: SimulatedFile) -> list[dict[str, Any]]:
    text = gzip.decompress(b"".join(file.read())).decode()
    found = json.loads(text) if text.startswith("[") else [json.loads(line) for line in text.splitlines()]
    assert isinstance(found, list)
    return found


def _schema() -> dict[str, dict[str, str]]:
    entries = json.loads(b"".join(files_by_name(ExportShape(), PROD, HOUR)[SCHEMA_FILE].read()))
    return {
        entry["DataObjectName"]: {element["ElementName"]: element["DataType"] for element in entry["DataElements"]}
        for entry in entries
    }


def test_the_names_of_tables_are_as_awkward_as_real_ones() -> None:
    names = [table.name for table in TABLES]
    assert len(set(names)) == len(names) > 40
    assert sum("_" in name for name in names) > 10
    assert sum(any(other != name and other.startswith(name) for other in names) for name in names) > 5
    for word in ("Voyage", "Voyage_Itinerary", "Vessel", "PortCall", "Cargo", "Invoice", "Bunker_Lifting"):
        assert word in names


def test_the_default_export_is_small_and_whole() -> None:
    files = make_export(ExportShape(), PROD, HOUR)
    assert 50 < len(files) < 80
    assert sum(file.size for file in files) < 2_000_000
    assert {file.table for file in files} - {None} == {table.name for table in TABLES}
    assert sum(file.name.endswith(".sql") for file in files) == 2
    sizes = sorted(file.size for file in files if file.table)
    assert sizes[-1] > 10 * sizes[0]


def test_records_keep_to_the_schema() -> None:
    python = {"Integer": int, "Decimal": (int, float), "Boolean": bool, "DateTime": str, "String": str}
    schema = _schema()
    for file in make_export(ExportShape(), PROD, HOUR):
        if file.table is None:
            continue
        for row in _rows(file):
            assert row.keys() == schema[file.table].keys()
            for name, value in row.items():
                assert value is None or isinstance(value, python[schema[file.table][name]])  # type: ignore[arg-type]  # a tuple is one too
            changed = datetime.fromisoformat(row["LastUpdateGMT"]).replace(tzinfo=UTC)
            assert 0 <= (HOUR - changed).total_seconds() <= 86_401


def test_partitions_come_as_arrays_and_as_lines() -> None:
    starts = {gzip.decompress(file.content)[:1] for file in make_export(ExportShape(), PROD, HOUR) if file.table}
    assert starts == {b"[", b"{"}


def test_an_export_follows_from_seed_configuration_and_hour_alone() -> None:
    def content(shape: ExportShape, config: str, hour: datetime) -> bytes:
        make_export.cache_clear()
        return b"".join(b"".join(file.read()) for file in make_export(shape, config, hour) if file.table)

    same = content(ExportShape(), PROD, HOUR)
    assert content(ExportShape(), PROD, HOUR) == same
    others = [
        content(ExportShape(seed=2), PROD, HOUR),
        content(ExportShape(), "onDemandExtract1DayTest", HOUR),
        content(ExportShape(), PROD, HOUR.replace(hour=14)),
    ]
    assert same not in others


def test_exports_share_the_files_in_which_they_do_not_differ() -> None:
    shape = ExportShape(files=14, total_bytes=60_000)
    one, other = (make_export(shape, PROD, HOUR.replace(hour=hour)) for hour in (13, 14))
    extras = [(mine, theirs) for mine, theirs in zip(one, other, strict=True) if mine.table is None]
    assert len(extras) == 3
    assert all(mine is theirs for mine, theirs in extras)


def test_nights_and_weekends_are_quiet() -> None:
    def rows(hour: datetime) -> int:
        return sum(len(_rows(file)) for file in make_export(ExportShape(), PROD, hour) if file.table)

    noon, night, sunday = HOUR, HOUR.replace(hour=2), HOUR.replace(day=15)
    assert rows(night) < rows(noon)
    assert rows(sunday) < 0.7 * rows(noon)


def test_a_shape_asks_for_many_files_of_a_skewed_gigabyte() -> None:
    files = make_export(ExportShape(files=600, total_bytes=GB), PROD, HOUR)
    assert len(files) == len({file.name for file in files}) == 600
    sizes = sorted(file.size for file in files if file.table)
    assert sum(sizes) == GB
    assert sizes[-1] > 100_000_000
    assert sizes[len(sizes) // 2] < 500_000


@pytest.mark.parametrize("count", [1, 3, 4, 30, 52, 53, 200])
def test_a_shape_asks_for_a_number_of_files(count: int) -> None:
    files = make_export(ExportShape(files=count), PROD, HOUR)
    assert len(files) == len({file.name for file in files}) == count
    assert any(file.name == SCHEMA_FILE for file in files) == (count >= 4)


def test_a_shape_asks_for_sizes() -> None:
    sizes = (0, 1, 21, 22, 4096, 70_000, 12_345_678)
    files = [file for file in make_export(ExportShape(sizes=sizes, scripts=False), PROD, HOUR) if file.table]
    assert tuple(file.size for file in files) == sizes
    assert tuple(len(b"".join(file.read())) for file in files) == sizes


def test_a_shape_can_leave_tables_schema_and_scripts_out() -> None:
    shape = ExportShape(absent=("Port", "Voyage_PnL"), schema=False, scripts=False)
    files = make_export(shape, PROD, HOUR)
    tables = {file.table for file in files}
    assert tables == {table.name for table in TABLES} - {"Port", "Voyage_PnL"}


@pytest.mark.parametrize("size", [*range(22, 60), 300, 999, 5_000, 65_535, 65_536, 130_007, 1_000_003])
def test_a_sized_file_is_true_gzip_of_exactly_that_size(size: int) -> None:
    file = sized(TABLES[1], "Voyage_Itinerary_x.json.gz", size)
    data = b"".join(file.read())
    assert len(data) == size == file.size
    rows = [json.loads(line) for line in gzip.decompress(data).splitlines()]
    assert bool(rows) == (size >= 999)
    assert all(row.keys() == {name for name, _ in TABLES[1].columns} for row in rows)


def test_every_table_can_be_sized() -> None:
    # A member must stay below 64 KiB: one padding member has to be able to make up for a missing one.
    for table in TABLES:
        for size in (63_000, 64_000, 65_000, 66_000, 200_001):
            assert len(b"".join(sized(table, "x.json.gz", size).read())) == size


def test_any_stretch_of_a_sized_file_is_the_same_as_in_the_whole() -> None:
    file = sized(TABLES[0], "Voyage_x.json.gz", 2_500_001)
    whole = b"".join(file.read())
    for start in (0, 1, 26, 49_999, 1_048_575, 1_048_577, 2_499_999, 2_500_000, 2_500_001, 2_500_002):
        for length in (0, 1, 77, 1_100_000, 3_000_000):
            assert b"".join(file.read(start, start + length)) == whole[start : start + length]


def test_members_of_a_sized_file_differ() -> None:
    data = b"".join(sized(TABLES[0], "Voyage_x.json.gz", 400_000).read())
    numbers = [part[:10] for part in data.split(b"Voyage_x.json.gz member ")[1:]]
    assert numbers == [b"%010d" % number for number in range(len(numbers))]
    assert len(numbers) > 5
    assert data != b"".join(sized(TABLES[0], "Voyage_y.json.gz", 400_000).read())


def test_D23_six_gigabytes_are_made_in_constant_memory() -> None:
    (file,) = make_export(ExportShape(files=1, total_bytes=6 * GB), PROD, HOUR)
    assert file.size == 6 * GB
    tracemalloc.start()
    try:
        seen = sum(len(piece) for piece in file.read(5 * GB, 5 * GB + 200_000_000))
        last = b"".join(file.read(6 * GB - 1000))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert seen == 200_000_000
    assert len(last) == 1000
    assert peak < 10_000_000


def test_the_etag_is_the_md5_up_to_the_size_of_a_single_put() -> None:
    small = sized(TABLES[0], "Voyage_a.json.gz", 8 * 1024 * 1024)
    large = sized(TABLES[0], "Voyage_a.json.gz", 8 * 1024 * 1024 + 1)
    assert len(small.etag) == 32
    assert large.etag.endswith("-2")
