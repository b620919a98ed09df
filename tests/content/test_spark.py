"""Spark answers as DuckDB does: about the same files, of many Hours at once, on this machine and on a cluster."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
import pickle
import random
import shutil
import subprocess
import sys
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyspark
import pytest
from pyspark.sql import SparkSession

from content.tables import READABLE, UNREADABLE
from history.lakes import LAYOUT
from viplake import aws, cli
from viplake.content import spark
from viplake.content.examine import ContentSettings, examine
from viplake.content.spark_sql import in_spark
from viplake.errors import LakeError, SettingsError
from viplake.lake import Lake
from viplake.lake.layout import SCHEMA_NAME
from viplake.lake.store import StoreSettings, open_store
from viplake.model import Hour
from viplake.network.settings import Network, Proxy
from viplake.redact import Secret
from viplake.simulator.tables import ExportShape, make_export
from viplake.tables import duck

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viplake.content.profiling import HourContent

FIRST = Hour.parse("2022-05-10T13")

BRIEF = "-XX:TieredStopAtLevel=1"
"""To a JVM of a minute, whose time goes into compiling what will hardly run: half the CPU seconds."""

needs_java = pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java, which is not on this machine")
pytestmark = [
    pytest.mark.system,
    pytest.mark.filterwarnings(
        "ignore::ResourceWarning",  # pyspark leaves sockets to its gateway to the collector
        "ignore:unclosed:pytest.PytestUnraisableExceptionWarning",
    ),
]


@pytest.fixture(scope="module")
def session() -> Iterator[SparkSession]:
    if shutil.which("java") is None:
        pytest.skip("Spark needs Java, which is not on this machine")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        settings: dict[str, str | bool | float | int | None] = {
            "spark.ui.enabled": "false",
            "spark.ui.showConsoleProgress": "false",
            "spark.driver.host": "127.0.0.1",
            "spark.driver.extraJavaOptions": BRIEF,
        }
        # One core, and so one partition of what is shuffled: queries are many and tiny. The cluster below has more.
        builder = SparkSession.builder.master("local[1]").config(map=settings)
        made = builder.config("spark.driver.bindAddress", "127.0.0.1").getOrCreate()
    made.sparkContext.pythonExec = sys.executable
    made.sparkContext.setLogLevel("ERROR")
    yield made
    made.stop()


# -- lakes --------------------------------------------------------------------------------------------------------


def schema(**tables: list[str]) -> bytes:
    """Of several tables; columns as `name type`, those of the key with a `!` behind."""
    return json.dumps(
        [
            {
                "DataObjectName": table,
                "Columns": [
                    {"Name": name, "Type": kind.rstrip("!"), "IsKey": kind.endswith("!")}
                    for name, _, kind in (column.partition(" ") for column in columns)
                ],
            }
            for table, columns in tables.items()
        ]
    ).encode()


def lines(*rows: dict[str, Any]) -> bytes:
    return "\n".join(json.dumps(row) for row in rows).encode()


def zoo() -> dict[str, bytes]:
    """Each file in every shape as a table by itself, and all that cannot be read beside one that can."""
    bodies = {name: data for name, (data, _) in READABLE.items()} | {name: bad.data for name, bad in UNREADABLE.items()}
    files = {}
    tables = {"Mixed": ["a integer!", "b string"]}
    for number, (name, data) in enumerate(sorted(bodies.items())):
        tables[f"T{number:02d}"] = tables["Mixed"]
        files[f"T{number:02d}_{name}"] = data
        if name in UNREADABLE or name == "lines.json":
            files[f"Mixed_{name}"] = data
    return files | {SCHEMA_NAME: schema(**tables)}


def sizes() -> bytes:
    """Values at the ends of what their types hold, and beyond."""
    numbers = [*("32767", "-32768", "-32769", "1e4", "1.0", "1.5", "+5", "+-5", " 5 ", ".5", "5.", "", "1_0", "0x1")]
    numbers += [
        "999.99",
        "999.995",
        "999.994",
        "1000",
        "-999.999",
        "1e2",
        "1e-3",
        "9223372036854775807",
        "1e300",
        "NaN",
    ]
    numbers += ["9223372036854775808", "9007199254740993.5", "0.1000000000000000055", "922337203685477.5807", "9" * 40]
    rows = ",".join(f'{{"n": "{one}", "t": "{one}", "d": "{one}", "b": "{one}", "m": "{one}"}}' for one in numbers)
    exact = [one for one in numbers if one and one[0] in "-0123456789" and one not in {"1_0", "0x1", "5."}]
    plain = ",".join(f'{{"n": {one}, "t": {one}, "d": {one}, "b": {one}, "m": {one}}}' for one in exact)
    return f"[{rows},{plain}]".encode()


def in_zip(files: dict[str, bytes]) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return target.getvalue()


def odd() -> dict[str, bytes]:
    """Values, columns and keys that do not agree with the schema."""
    voyage: list[dict[str, Any]] = [
        {
            "Id": number,
            "Part": number % 2,
            "Qty": number / 4,
            "On": f"2022-05-{number + 1:02d}",
            "Open": number % 2 == 0,
        }
        for number in range(20)
    ]
    wrong: list[dict[str, Any]] = [
        {"Id": 3, "Part": 1, "Qty": "1,5", "On": "2022-05", "Open": "maybe", "Gone": None},
        {"Id": 3, "Part": 1, "Qty": "NaN", "On": "31.12.2022", "Open": 2, "New": {"x": [1, 2]}},
        {"Id": "4.5", "Part": None, "Qty": -0.0, "On": "2022/5/1", "Open": "yes", "New": "é" * 100},
        {"Id": "9223372036854775808", "Part": "x", "Qty": 1e300, "On": "epoch", "Open": "T", "Ne'w \"2\\": 1},
        {"Id": 1.0, "Qty": "1d", "On": "2022-02-30", "Open": "1 ", "New": False},
    ]
    dated: list[dict[str, Any]] = [
        {"k": f"{number % 7}", "LastUpdate": f"2022-05-10T{number % 24:02d}:00:00.{number}"} for number in range(30)
    ]
    return {
        "Voyage_0.json.gz": gzip.compress(lines(*voyage)),
        "Voyage_1.json": lines(*wrong),
        "Voyage_2.json": json.dumps([{"Id": 77, "Newest": 1}, {}]).encode(),
        "Dated_0.json": lines(*dated, {"k": "x", "LastUpdate": "no time"}),
        "Loose_0.json": lines({"a": 1, "b": "2"}, {"B2": None, "a": "x"}),
        "Bare_0.json": lines({}, {}),
        "Unheard_0.json": lines({"a": 1}, {"a": 2, "LastUpdateGMT": "2032-01-01T00:00:00"}),
        "Sizes_0.json": sizes(),
        "Sizes_1.csv.gz": gzip.compress(b"n,t,d,b,m\n7,abc,1.25,9007199254740993,5\n70000,abcdefgh,9999,x,1.23456\n"),
        "Sizes_2.zip": in_zip(
            {"a/one.json": b'[{"n": 1, "t": "abcdefghi"}]', "two.csv": b"n;d\n2;1_0\n", "bad.json": b"{"}
        ),
        "Sizes_3.json": b'[{"n": 3}, null][{"n": 4}]',
        "Sizes_4.json": b"[[1, 2]]",
        SCHEMA_NAME: schema(
            Voyage=["Id int!", "Part int!", "Qty decimal(28,8)", "On date", "Open bit", "Gone text", "Odd geography"],
            Dated=["k nvarchar(8)!", "LastUpdate date"],
            Loose=[],
            Bare=["a int"],
            Sizes=["n smallint", "t nvarchar(5)", "d decimal(5,2)", "b bigint", "m money"],
        ),
    }


def exported(hour: Hour) -> dict[str, bytes]:
    return {
        file.name: b"".join(file.read()) for file in make_export(ExportShape(files=16, rows=0.5), "Prod", hour.start)
    }


@pytest.fixture(scope="module")
def lake(tmp_path_factory: pytest.TempPathFactory) -> StoreSettings:
    """Seven Hours: exports, every file in the zoo, what is odd, without a schema, with a broken one, nothing."""
    root = tmp_path_factory.mktemp("lake")
    folders = [
        exported(FIRST),
        exported(FIRST.shift(1)),
        zoo(),
        odd(),
        {name: data for name, data in odd().items() if name != SCHEMA_NAME},
        odd() | {SCHEMA_NAME: b"{"},
    ]
    for number, files in enumerate(folders):
        for name, data in files.items():
            path = root / LAYOUT.file(FIRST.shift(number), name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    return StoreSettings(root.as_uri())


HOURS = [FIRST.shift(number) for number in range(7)]


def but_estimates(content: HourContent) -> HourContent:
    """Without what the engines estimate, each in its own way."""
    return replace(
        content,
        tables=tuple(
            replace(table, columns=tuple(replace(column, distinct=0) for column in table.columns))
            for table in content.tables
        ),
    )


async def by_duckdb(lake: StoreSettings) -> list[HourContent]:
    store = open_store(lake)
    return [await examine(Lake(store, LAYOUT), hour, ContentSettings()) for hour in HOURS]


async def by_spark(lake: StoreSettings, hours: list[Hour] = HOURS) -> list[HourContent]:
    return [content async for content in spark.examine_many(lake, LAYOUT, hours, ContentSettings())]


# -- equal --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def answers(session: SparkSession, lake: StoreSettings) -> tuple[list[HourContent], list[HourContent]]:
    """What DuckDB finds in each Hour, and what Spark does."""
    assert session.getActiveSession() is not None
    return asyncio.run(by_duckdb(lake)), asyncio.run(by_spark(lake))


@pytest.mark.parametrize("number", range(len(HOURS)))
@pytest.mark.long
def test_spark_and_duckdb_find_the_same_in_each_hour(
    answers: tuple[list[HourContent], list[HourContent]], number: int
) -> None:
    expected, found = (but_estimates(contents[number]) for contents in answers)
    assert [table.table for table in found.tables] == [table.table for table in expected.tables]
    for one, other in zip(found.tables, expected.tables, strict=True):
        assert one == other
    assert found == expected


def test_the_hours_hold_something_of_everything(answers: tuple[list[HourContent], list[HourContent]]) -> None:
    _, found = answers
    kinds = {finding.kind for content in found for finding in content.findings}
    assert kinds == {
        "unreadable_file",
        "empty_file",
        "missing_column",
        "unexpected_column",
        "wrong_type",
        "out_of_range",
        "too_long",
        "duplicate_key",
        "null_record",
        "future_time",
    }
    assert [content.schema_problem for content in found] == [
        *[None] * 4,
        "it has no schema",
        "its schema cannot be read",
        "it has no schema",
    ]
    assert [sum(table.rows or 0 for table in content.tables) > 0 for content in found] == [*[True] * 6, False]


def test_estimates_of_different_values_are_near_each_other(
    answers: tuple[list[HourContent], list[HourContent]],
) -> None:
    for expected, found in zip(*answers, strict=True):
        for one, other in zip(expected.tables, found.tables, strict=True):
            for left, right in zip(one.columns, other.columns, strict=True):
                assert right.distinct == pytest.approx(left.distinct, rel=0.25, abs=3), (one.table, left.name)


# -- the same values are numbers and times ------------------------------------------------------------------------


def spellings() -> list[str]:
    """Numbers, truths, days and times, as people and programs write them, and nearly so."""
    dice = random.Random(7)  # the same every time

    def pick(*options: str) -> str:
        return dice.choice(options)

    def space() -> str:
        return pick("", "", "", "", " ", "\t", "  ", "\x0b")

    def number() -> str:
        sign = pick("", "", "+", "-", "+-", "-+", "--")
        whole = pick(
            "", "0", "12", "1_0", "1__0", "_1", "1_", "0x1", "007", "9" * 20, "9223372036854775807", "inf", "NaN"
        )
        return (
            sign + whole + pick("", "", ".", ".5", ".5_0", "._5") + pick("", "", "e5", "E-3", "e+1_0", "e", "e400", "d")
        )

    def time() -> str:
        mark = pick("-", "-", "-", "/", " ", "\\", ".")
        day = pick("2022", "0022", "22", "02022", "9999", "10000", "0") + mark + pick("05", "5", "13", "0", "005")
        day += pick(mark, mark, mark, "-") + pick("01", "1", "31", "29", "010")
        if dice.random() < 0.2:
            return day
        clock = pick("T", " ", "T", " ", "", "  ", "t", "T ") + pick("01", "1", "23", "24", "00", "001", "25", "")
        clock += pick(":", ":", "") + pick("02", "2", "00", "60", "", "002") + pick("", ":", ":")
        clock += pick("03", "3", "00", "59", "60", "") + pick("", "", ".", ".5", ".1234567", ".000", ",5")
        return (
            day
            + clock
            + pick("", "", "Z", "z", " Z", "+02", "+02:00", "-0200", "+2", "+", " UTC", "UTC", " Foo", "  Z")
        )

    def word() -> str:
        truths = ("true", "TRUE", "t", "y", "yes", "Yes", "1", "0", "no", "f", "on", "01", "2")
        return pick(*truths, "epoch", "Epoch", "infinity", "now", "today", "", "null")

    made = [space() + dice.choice((number, time, time, word))() + space() for _ in range(6000)]
    return sorted(set(made))


def test_both_engines_agree_on_numbers_booleans_days_and_times(session: SparkSession, tmp_path: Path) -> None:
    # In the years that calendars have: `profiling` takes no other.
    kinds = {
        "double": "try_cast(c0 as double)",
        "boolean": "try_cast(c0 as boolean)",
        "date": "try_cast(c0 as date)",
        "timestamp": "try_cast(c0 as timestamp)",
    }
    within = {
        "double": "between -1.7e308 and 1.7e308",
        "boolean": "is not null",
        "date": "between date '0001-01-01' and date '9999-12-31'",
        "timestamp": "between timestamp '0001-01-01 00:00:00' and timestamp '9999-12-31 23:59:59.999999'",
    }
    cells = [
        f"case when {tried} {within[kind]} then {tried if kind == 'double' else f'cast({tried} as varchar)'} end"
        for kind, tried in kinds.items()
    ]
    sql = f"select c0, {', '.join(cells)} from records"
    texts = spellings()
    (tmp_path / "texts.json").write_text(json.dumps([{"c0": text} for text in texts]))
    with duck.connect(tmp_path) as connection:
        read = f"read_json('{tmp_path}/texts.json', columns = {{c0: 'VARCHAR'}})"
        expected = {row[0]: row[1:] for row in connection.execute(sql.replace("records", read)).fetchall()}
    asked = in_spark(sql, "texts")
    own = spark.session()
    rows = own.createDataFrame(session.sparkContext.parallelize([(text,) for text in texts], 2), "c0 string")
    rows.selectExpr("*", *(f"{made} as {name}" for name, made in asked.needs.items())).createOrReplaceTempView("texts")
    found = {row[0]: tuple(row)[1:] for row in own.sql(asked.sql).collect()}
    assert {text: (expected[text], found[text]) for text in texts if expected[text] != found[text]} == {}
    for index, kind in enumerate(kinds):  # neither all nor none of them
        assert 5 < sum(cells[index] is not None for cells in expected.values()) < len(texts) - 5, kind


# -- the session, secrets, failures -------------------------------------------------------------------------------


@pytest.mark.long
def test_the_session_of_others_keeps_its_settings(session: SparkSession, lake: StoreSettings) -> None:
    session.conf.set("spark.sql.session.timeZone", "Asia/Singapore")
    session.createDataFrame([(1,)], "n int").createOrReplaceTempView("viplake_records")
    asyncio.run(by_spark(lake, HOURS[5:6]))
    assert session.conf.get("spark.sql.session.timeZone") == "Asia/Singapore"
    assert session.sql("select n from viplake_records").collect() == [(1,)]
    assert not session.sparkContext._jsc.getPersistentRDDs()  # nothing stays cached


def test_no_secret_travels_to_the_executors() -> None:
    secret = Secret("a-secret-access-key-of-a-test")
    told = StoreSettings(
        "s3://lake",
        "AKIAEXAMPLE",
        secret,
        session_token=secret,
        network=Network(Proxy("http://proxy:1", secret)),
        region="eu-west-1",
        endpoint="https://x",
    )
    reach = pickle.loads(pickle.dumps(spark.for_executors(told)))
    assert reach == StoreSettings("s3://lake", region="eu-west-1", endpoint="https://x")


def test_a_lake_that_executors_cannot_read_is_an_error_of_the_lake(session: SparkSession, tmp_path: Path) -> None:
    assert session.getActiveSession() is not None
    missing = StoreSettings((tmp_path / "missing").as_uri())
    with pytest.raises(LakeError) as caught:
        asyncio.run(by_spark(missing))
    assert caught.value.cause.word == "folder_missing"
    piece = spark.Piece(0, 0, "T_0.json", "T_0.json", 1, ("a",))
    [(number, report, record)] = spark.read(missing, [piece])
    assert (number, record) == (0, None)
    assert json.loads(report or "")["lake"] == "folder_missing"


def test_a_missing_package_is_reported_with_its_install_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyspark.sql", None)
    with pytest.raises(SettingsError, match="pyspark") as caught:
        spark.session()
    assert "pip install 'viplake[spark]' pyspark" in caught.value.hint


def test_missing_java_is_reported(tmp_path: Path) -> None:
    (tmp_path / "bash").symlink_to(shutil.which("bash") or "/bin/bash")  # of Spark's own scripts
    code = "from viplake.content import spark; from viplake.errors import SettingsError\n"
    code += "try:\n spark.session()\nexcept SettingsError as error:\n print(error.message, error.hint)"
    environ = {key: value for key, value in os.environ.items() if key not in {"JAVA_HOME", "PATH"}}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environ | {"PATH": str(tmp_path)}, capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("Spark does not start:")
    assert "JAVA_HOME" in done.stdout


@pytest.mark.long
def test_a_glue_job_checks_the_content_of_the_last_day_and_stores_results(
    session: SparkSession, tmp_path: Path
) -> None:
    assert session.getActiveSession() is not None
    for number, files in enumerate((exported(FIRST), odd())):
        for name, data in files.items():
            path = tmp_path / LAYOUT.file(FIRST.shift(number), name)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
    told = aws.glue_main(
        [
            "job.py",
            "--viplake-command",
            "content",
            "--viplake-environment",
            "Prod",
            "--viplake-lake",
            tmp_path.as_uri(),
        ],
        environ={},
    )
    assert (told["outcome"], told["exit_code"]) == ("looked_into", 0)
    assert (told["from"], told["to"]) == (str(FIRST.shift(-22)), str(FIRST.shift(1)))
    assert told["tables"] > 15
    assert told["findings"] > 5
    kept = {path.name for path in (tmp_path / "IMOSDL/_viplake/content").rglob("*.gz")}
    assert {"13.json.gz", "14.json.gz"} <= kept


def test_the_command_prints_the_same_with_either_engine(
    session: SparkSession, lake: StoreSettings, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert session.getActiveSession() is not None
    monkeypatch.setenv("VIPLAKE_ENVIRONMENT", "Prod")
    monkeypatch.setenv("VIPLAKE_LAKE", lake.url)
    seen = []
    for engine in ("duckdb", "spark"):
        assert cli.execute(["content", "--at", str(HOURS[2]), "--json", "--no-keep", "--engine", engine]) == 1
        seen.append(json.loads(capsys.readouterr().out))
        for table in seen[-1]["hours"][0]["tables"]:
            for column in table["columns"]:
                column["distinct"] = 0
    assert seen[0] == seen[1]


# -- on a cluster -------------------------------------------------------------------------------------------------

_ON_A_CLUSTER = """
import asyncio, pickle, sys
from pyspark.sql import SparkSession
from viplake.lake.layout import Layout
from viplake.lake.store import StoreSettings
from viplake.model import Hour
from viplake.content import spark
from viplake.content.examine import ContentSettings

builder = SparkSession.builder.master("local-cluster[1,1,1024]").config("spark.ui.enabled", "false")
builder = builder.config("spark.driver.host", "127.0.0.1").config("spark.driver.bindAddress", "127.0.0.1")
for side in ("driver", "executor"):
    builder = builder.config(f"spark.{side}.extraJavaOptions", sys.argv[3])
made = builder.getOrCreate()
made.sparkContext.pythonExec = sys.executable
hours = [Hour.parse(text) for text in sys.argv[4:]]

async def looked():
    lake, layout = StoreSettings(sys.argv[1]), Layout("IMOSDL/Hourly/")
    return [content async for content in spark.examine_many(lake, layout, hours, ContentSettings())]

with open(sys.argv[2], "wb") as file:
    pickle.dump(asyncio.run(looked()), file)
made.stop()
"""


@needs_java
@pytest.mark.long
def test_a_cluster_finds_the_same(lake: StoreSettings, tmp_path: Path) -> None:
    wanted, found = [HOURS[2], HOURS[4]], tmp_path / "found"
    environ = os.environ | {"SPARK_HOME": str(Path(pyspark.__file__).parent), "SPARK_LOCAL_IP": "127.0.0.1"}
    command = [sys.executable, "-c", _ON_A_CLUSTER, lake.url, str(found), BRIEF, *map(str, wanted)]
    done = subprocess.run(command, cwd=tmp_path, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    expected = [one for one in asyncio.run(by_duckdb(lake)) if one.hour in wanted]
    assert [but_estimates(one) for one in pickle.loads(found.read_bytes())] == [but_estimates(one) for one in expected]
