"""A value that `plain` accepts is the one that `trial` finds; everything else is left to `trial`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import duckdb
import pytest
from hypothesis import given, strategies as st

from viplake.tables.types import plain, trial, type_of

if TYPE_CHECKING:
    from collections.abc import Iterator

SPELLINGS = [
    "", " ", "0", "-0", "1", " 1", "1 ", "+5", "007", "1.0", "1.5", "1.50000", "1.", ".5", "-.5", "1e3", "1E3", "1e-7",
    "12.3456", "12.34567", "1_000", "0.1", "true", "TRUE", "t", "1.0000000000000001", "2147483647", "2147483648",
    "-9223372036854775808", "9223372036854775808", "99999999999999999999999999999999999999999", "NaN", "Infinity",
    "1e400", "null", "2022-05-10", "2022-05-10T13:14:15", "2022-05-10 13:14:15", "2022-05-10T13:14:15Z",
    "2022-05-10T13:14:15z", "2022-05-10T13:14:15.123456Z", "2022-05-10T13:14:15.123456789", "2022-05-10T13:14",
    "2022-05-10T13:14:15+05:00", "2022-05-10T13:14:15-05:00", "2022-05-10T13:14+05", "2022-05-10T13:14:15.5-05",
    "2022-05-10T13:14:15.5 UTC", "2022-05-10 13:14:15 Europe/Berlin", "2022-05-10T13:14:15.5+05", "2022-02-30T13:14:15",
    "0001-01-01T00:00:00", "0000-01-01T00:00:00", "9999-12-31T23:59:59Z", "20220-05-10T13:14:15", "infinity", "epoch",
    "2022-05-10T24:00:00", "2022-05-10T13:14:60", "2022-5-10T13:14:15", "2022-05-10T13:14:15 (BC)", "12345-01-01",
]  # fmt: skip
TYPES = ["int", "bigint", "tinyint", "decimal(18,4)", "decimal(10,6)", "decimal(38,38)", "decimal(5,0)", "money",
         "decimal", "float", "bit", "date", "datetime"]  # fmt: skip


@pytest.fixture(scope="module")
def engine() -> Iterator[duckdb.DuckDBPyConnection]:
    with duckdb.connect() as connection:
        connection.execute("set timezone = 'UTC'")
        yield connection


def read(engine: duckdb.DuckDBPyConnection, text: str, declared: str) -> tuple[bool, bool, bool]:
    """Whether `plain` accepts a text, whether `trial` says that it fits, and whether both have the same value."""
    of = type_of(declared)
    assert of is not None
    one, exact = plain("c", "v", of), trial("c", of)
    tried = ", ".join(f"{sql} as {name}" for name, sql in exact.tried.items())
    kind = "timestamptz" if of.kind == "timestamp" else of.sql
    value = "try_cast(c as timestamptz)" if of.kind == "timestamp" else exact.value
    mine = "make_timestamptz(epoch_us(v))" if of.kind == "timestamp" else "v"
    fits = f"coalesce({exact.fits}, false) and not coalesce({exact.beyond or 'false'}, false)"
    accepted = f"coalesce({one.fits}, false)"
    same = (
        f"case when {accepted} then cast({mine} as {kind}) is not distinct from cast({value} as {kind}) else true end"
    )
    sql = f"select {accepted}, {fits}, {same} from (select c, {one.sql} as v, {tried} from (select $1::varchar as c))"
    [found] = engine.execute(sql, [text]).fetchall()
    return bool(found[0]), bool(found[1]), bool(found[2])


@pytest.mark.parametrize("declared", TYPES)
def test_no_spelling_is_accepted_with_another_value(engine: duckdb.DuckDBPyConnection, declared: str) -> None:
    for text in SPELLINGS:
        accepted, fits, same = read(engine, text, declared)
        assert (fits and same) or not accepted, text


@pytest.mark.parametrize(
    ("declared", "text"),
    [("int", "-12"), ("decimal(18,4)", "12.5"), ("decimal(18,4)", "-3"), ("float", "1e-7"), ("bit", "true"),
     ("date", "2022-05-10"), ("datetime", "2022-05-10T13:14:15"), ("datetime", "2022-05-10T13:14:15.123Z")],
)  # fmt: skip
def test_values_as_exports_spell_them_are_accepted(engine: duckdb.DuckDBPyConnection, declared: str, text: str) -> None:
    assert read(engine, text, declared) == (True, True, True)


@given(text=st.text("0123456789+-.:TZeE_ ", max_size=30), declared=st.sampled_from(TYPES))
def test_no_text_of_digits_and_signs_is_accepted_with_another_value(
    engine: duckdb.DuckDBPyConnection, text: str, declared: str
) -> None:
    accepted, fits, same = read(engine, text, declared)
    assert (fits and same) or not accepted
