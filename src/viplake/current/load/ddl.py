"""PURE. The statements that make the tables readable in a warehouse. None of them can be run by the tests."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

Warehouse = Literal["athena", "databricks", "redshift", "snowflake", "spark"]
WAREHOUSES: Final[tuple[Warehouse, ...]] = get_args(Warehouse)

_HEADS: Final[Mapping[Warehouse, str]] = {
    "athena": "-- Athena engine version 3. Run each statement by itself. Columns and types come from the Delta log.\n"
    "CREATE DATABASE IF NOT EXISTS {schema};",
    "databricks": "-- Databricks SQL. The location must be in an external location of Unity Catalog.\n"
    "CREATE SCHEMA IF NOT EXISTS {schema};",
    "redshift": "-- Redshift Spectrum reads the tables of the Glue Data Catalog: run the statements for Athena first.\n"
    "CREATE EXTERNAL SCHEMA IF NOT EXISTS {schema} FROM DATA CATALOG DATABASE '{schema}' IAM_ROLE default;",
    "snowflake": "-- Snowflake. An external volume named VIPLAKE must allow the lake's location.\n"
    "CREATE CATALOG INTEGRATION IF NOT EXISTS VIPLAKE_DELTA CATALOG_SOURCE = OBJECT_STORE TABLE_FORMAT = DELTA "
    "ENABLED = TRUE;\nCREATE SCHEMA IF NOT EXISTS {schema};",
    "spark": "-- Spark with the package delta-spark. Without it: docs/tables.md reads the live files.\n"
    "CREATE DATABASE IF NOT EXISTS {schema};",
}

_TABLES: Final[Mapping[Warehouse, str]] = {
    "athena": "CREATE EXTERNAL TABLE IF NOT EXISTS {schema}.{plain} LOCATION '{uri}' "
    "TBLPROPERTIES ('table_type' = 'DELTA');",
    "databricks": "CREATE TABLE IF NOT EXISTS {schema}.`{name}` USING DELTA LOCATION '{uri}';",
    "redshift": "-- SELECT * FROM {schema}.{plain};",
    "snowflake": "CREATE ICEBERG TABLE IF NOT EXISTS {schema}.\"{name}\" EXTERNAL_VOLUME = 'VIPLAKE' "
    "CATALOG = 'VIPLAKE_DELTA' BASE_LOCATION = '{below}' AUTO_REFRESH = TRUE;",
    "spark": "CREATE TABLE IF NOT EXISTS {schema}.`{name}` USING DELTA LOCATION '{uri}';",
}


def statements(warehouse: Warehouse, schema: str, tables: Sequence[tuple[str, str]]) -> list[str]:
    """Return the statements for some tables.

    Args:
        warehouse: that reads them.
        schema: to put them in.
        tables: name and location of each.
    """
    found = [_HEADS[warehouse].format(schema=schema)]
    for name, uri in tables:
        below = re.sub(r"^s3://[^/]+/", "", uri)
        plain = re.sub(r"\W", "_", name).lower()
        found.append(
            _TABLES[warehouse].format(schema=schema, name=name, plain=plain, uri=uri.rstrip("/") + "/", below=below)
        )
    return found
