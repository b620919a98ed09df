"""PURE. What an export holds: the tables of a voyage-management system, as gzipped JSON of any size, made anew.

Everything is a function of (seed, configuration, trigger hour): two simulators give the same bytes. A normal
partition holds records that differ from hour to hour. A file of a wished-for size is a chain of gzip members
made *while it is read*, from any offset, in constant memory: each member carries its number in its header
and some hundred newline-delimited records behind it, which repeat from member to member; the last member is
padded so that the size comes out exactly. So a file of 6 GB is still a true `.json.gz`, and costs nothing to
keep.
"""

# ruff: noqa: E501 - a table of tables reads best a row a line

from __future__ import annotations

import gzip
import hashlib
import json
import math
import struct
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

SCHEMA_FILE = "_MasterTableSchema.json"

# A single PUT up to here, multipart above: the threshold of the AWS command line tools. It decides whether an
# ETag is the MD5 of the content.
MULTIPART_BYTES = 8 * 1024 * 1024
CHUNK_BYTES = 1024 * 1024
_LOOK_BACK = timedelta(days=1)

# SimulatedTable, its rows in a middling hour, and its columns as name:kind. Names with `_` and names that begin with
# another table's name are there on purpose: that is what real exports have.
_TABLES = """
Voyage 40 VoyageId:id VesselCode:code VoyageNo:int VoyageStatus:status OpsCoordinator:user CommenceDateGMT:when CompleteDateGMT:when TradeArea:area Laycan:when ConsecutiveVoyage:flag
Voyage_Itinerary 330 ItineraryId:id VoyageId:int PortNo:int PortName:port PortFunction:function EtaGMT:when EtdGMT:when DistanceMiles:qty PortDays:qty ExtraSeaDays:qty SpeedKnots:qty DraftMetres:qty
Voyage_ItineraryCargo 210 ItineraryCargoId:id ItineraryId:int CargoId:int BlQuantity:qty BlDate:when Berth:text
Voyage_PnL 120 PnLId:id VoyageId:int Account:account Estimated:money Actual:money Posted:money Currency:currency
VoyageEstimate 60 EstimateId:id VesselName:vessel Title:text Tce:money FreightTotal:money BunkerTotal:money Days:qty Profit:money
VoyageRemark 45 RemarkId:id VoyageId:int Remark:text Author:user
Vessel 25 VesselId:id VesselCode:code VesselName:vessel ImoNumber:imo Dwt:qty BuiltYear:year Flag:country VesselType:vesseltype Owner:company Active:flag
Vessel_Consumption 50 ConsumptionId:id VesselCode:code FuelType:fuel SpeedKnots:qty LadenTonsPerDay:qty BallastTonsPerDay:qty
Vessel_Position 260 PositionId:id VesselCode:code ReportedGMT:when Latitude:degree Longitude:degree SpeedKnots:qty Course:int Source:source
VesselFleet 8 FleetId:id FleetName:text Region:area
PortCall 140 PortCallId:id VoyageId:int PortName:port ArrivalGMT:when DepartureGMT:when Agent:company Berth:text Status:status
PortCall_Activity 380 ActivityId:id PortCallId:int Activity:activity StartGMT:when EndGMT:when Remark:text
PortExpense 90 PortExpenseId:id PortCallId:int Vendor:company Amount:money Currency:currency Advance:flag
Port 6 PortId:id PortName:port UnLocode:code Country:country Latitude:degree Longitude:degree TimeZoneHours:int
PortDistance 12 DistanceId:id FromPort:port ToPort:port DistanceMiles:qty ViaSuez:flag ViaPanama:flag
Cargo 45 CargoId:id CargoName:cargo Charterer:company Quantity:qty Unit:unit LaycanFrom:when LaycanTo:when FreightRate:money Status:status
Cargo_Booking 70 BookingId:id CargoId:int LoadPort:port DischargePort:port Quantity:qty BookedGMT:when Booker:user
Cargo_Handling 110 HandlingId:id CargoId:int PortName:port Function:function QuantityHandled:qty StartGMT:when
CargoGrade 5 GradeId:id CargoName:cargo Grade:text StowageFactor:qty
CargoMatch 30 MatchId:id CargoId:int VoyageId:int MatchedGMT:when Score:qty
CharterParty 20 CharterPartyId:id Form:form Charterer:company Owner:company SignedGMT:when Terms:text
CharterParty_Clause 95 ClauseId:id CharterPartyId:int ClauseNo:int Text:text
ContractOfAffreightment 9 CoaId:id Counterparty:company Liftings:int QuantityTotal:qty ValidFrom:when ValidTo:when
Fixture 22 FixtureId:id FixtureNo:int VesselName:vessel Charterer:company Broker:company FixedGMT:when Rate:money Subjects:flag
TimeCharter 14 TimeCharterId:id VesselName:vessel Direction:direction HirePerDay:money DeliveryGMT:when RedeliveryGMT:when
TimeCharter_Hire 48 HireId:id TimeCharterId:int PeriodFrom:when PeriodTo:when Amount:money OffHireDays:qty
OffHire 11 OffHireId:id VesselName:vessel Reason:text FromGMT:when ToGMT:when
Laytime 26 LaytimeId:id VoyageId:int AllowedHours:qty UsedHours:qty Demurrage:money Despatch:money Settled:flag
Laytime_Deduction 64 DeductionId:id LaytimeId:int Reason:activity Hours:qty Percent:int
Claim 7 ClaimId:id VoyageId:int ClaimType:text Amount:money Currency:currency Status:status
Invoice 85 InvoiceId:id InvoiceNo:int Counterparty:company InvoiceDate:when DueDate:when Amount:money Currency:currency Status:status Approved:flag
Invoice_Line 420 InvoiceLineId:id InvoiceId:int Account:account Description:text Quantity:qty UnitPrice:money Amount:money TaxCode:code
InvoicePayment 55 PaymentId:id InvoiceId:int PaidGMT:when Amount:money Currency:currency Bank:company
JournalEntry 160 JournalId:id Account:account Debit:money Credit:money Currency:currency PostedGMT:when Period:int
ExchangeRate 18 RateId:id FromCurrency:currency ToCurrency:currency Rate:qty RateDate:when
Bunker_Lifting 38 LiftingId:id VesselCode:code PortName:port FuelType:fuel Tons:qty PricePerTon:money Supplier:company
Bunker_Inventory 130 InventoryId:id VesselCode:code FuelType:fuel RobTons:qty MeasuredGMT:when
Bunker_Inquiry 16 InquiryId:id VesselCode:code PortName:port FuelType:fuel Tons:qty Status:status
BunkerPrice 24 PriceId:id PortName:port FuelType:fuel PricePerTon:money QuotedGMT:when
NoonReport 190 ReportId:id VesselCode:code ReportedGMT:when SpeedKnots:qty DistanceMiles:qty FuelType:fuel ConsumedTons:qty WindForce:int
Counterparty 15 CounterpartyId:id Name:company Country:country Role:role CreditLimit:money Blocked:flag
Counterparty_Contact 28 ContactId:id CounterpartyId:int FullName:user Email:email Phone:phone
Counterparty_Bank 6 BankId:id CounterpartyId:int BankName:company Currency:currency
Commission 33 CommissionId:id FixtureId:int Broker:company Percent:qty Amount:money
EmissionReport 21 EmissionId:id VoyageId:int Co2Tons:qty EtsShare:qty Scheme:text
TradingBook 5 BookId:id BookName:text Trader:user Open:flag
TradingBook_Position 75 PositionId:id BookId:int Instrument:text Quantity:qty Price:money MarkedGMT:when
WorkflowTask 65 TaskId:id Subject:text Assignee:user DueGMT:when Done:flag
AuditLog 310 AuditId:id Entity:text EntityId:int Action:action UserId:user Before:text After:text
"""
_EVERY_TABLE = " LastUserId:user LastUpdateGMT:changed"

_WORDS: Mapping[str, tuple[str, ...]] = {
    "status": ("Scheduled", "Commenced", "Completed", "Closed", "Pending", "Approved", "Cancelled"),
    "user": ("mlopez", "a.tan", "jwillems", "k.sato", "pnair", "rhansen", "svc_import"),
    "area": ("Atlantic", "Pacific", "Indian Ocean", "Mediterranean", "North Sea", "US Gulf"),
    "port": ("Rotterdam", "Singapore", "Santos", "Qingdao", "Houston", "Richards Bay", "Sète", "Göteborg", "Ain Sukhna"),
    "function": ("Load", "Discharge", "Bunker", "Canal transit", "Waiting"),
    "account": ("4100 Freight", "4200 Demurrage", "5100 Bunkers", "5200 Port costs", "5300 Hire", "5900 Other"),
    "currency": ("USD", "EUR", "SGD", "NOK", "JPY"),
    "vessel": ("Ocean Harrier", "Baltic Wren", "Cape Tern", "Nordic Plover", "Coral Ibis", "Sea Fulmar"),
    "country": ("Marshall Islands", "Liberia", "Panama", "Singapore", "Norway", "Côte d'Ivoire"),
    "vesseltype": ("Capesize", "Panamax", "Supramax", "Handysize", "MR tanker", "Aframax"),
    "company": ("Harrow Shipping", "Meridian Grain", "Delta Bulk & Sons", "Østfold Rederi", "Pearl Agencies", "Tern Oil"),
    "fuel": ("VLSFO", "LSMGO", "HSFO", "LNG", "Biofuel B30"),
    "source": ("AIS", "Noon", "Manual"),
    "activity": ("NOR tendered", "Berthing", "Loading", "Discharging", "Rain", "Shifting", "Hatch survey", "Strike"),
    "cargo": ("Soybeans", "Iron ore", "Thermal coal", "Wheat", "Bauxite", "Gasoil", "Naphtha", "Steel coils"),
    "unit": ("MT", "CBM", "BBL"),
    "form": ("GENCON", "NYPE 93", "ASBATANKVOY", "BPVOY4"),
    "direction": ("In", "Out"),
    "role": ("Owner", "Charterer", "Broker", "Agent", "Supplier"),
    "action": ("Insert", "Update", "Delete"),
    "text": (
        "subject to stem confirmation",
        "agreed by e-mail, see attachment",
        "weather delay; master's remark",
        'rounded, "as per" the statement',
        "revised after bunkering",
        "n/a",
    ),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class SimulatedTable:
    """A table of the schema: its name, its rows in a middling hour, its columns as (name, kind)."""

    name: str
    rows: int
    columns: tuple[tuple[str, str], ...]


def _parse_tables(text: str) -> tuple[SimulatedTable, ...]:
    tables = []
    for line in text.strip().splitlines():
        name, rows, *columns = (line + _EVERY_TABLE).split()
        pairs = tuple((column, kind) for column, _, kind in (item.partition(":") for item in columns))
        tables.append(SimulatedTable(name, int(rows), pairs))
    return tuple(tables)


TABLES: tuple[SimulatedTable, ...] = _parse_tables(_TABLES)


@dataclass(frozen=True, slots=True)
class ExportShape:
    """Number and size of the files of an export. Default: about 60 files, well under 2 MB.

    Attributes:
        files: number of files in all, schema and scripts included (below 4: partitions alone).
        total_bytes: bytes in all partitions together, skewed as real exports are: a few files hold
            most of it. Sized partitions are generated while they are sent.
        sizes: the size of every partition, in bytes, in the order of the list; instead of the two above.
        rows: multiplies the rows of normal partitions.
        absent: tables that the schema names and the export lacks (an incomplete job).
        schema: whether `_MasterTableSchema.json` is there.
        scripts: whether the `.sql` scripts are there.
        seed: of the made-up records.
    """

    files: int | None = None
    total_bytes: int | None = None
    sizes: tuple[int, ...] | None = None
    rows: float = 1.0
    absent: tuple[str, ...] = ()
    schema: bool = True
    scripts: bool = True
    seed: int = 1


@dataclass(frozen=True, slots=True)
class _Run:
    """A stretch of equal gzip members within a file: `count` of them, numbered from `first`."""

    start: int
    count: int
    first: int
    name: bytes
    body: bytes  # deflated records, CRC and length

    @property
    def block(self) -> int:
        return _HEADER + len(self.name) + _NUMBER + len(self.body)

    @property
    def stop(self) -> int:
        return self.start + self.count * self.block

    def read(self, start: int, stop: int) -> Iterator[bytes]:
        """The bytes [start, stop) of the file, as far as this run holds them, about 1 MiB at a time."""
        at, stop, block = max(start, self.start), min(stop, self.stop), self.block
        step = max(1, CHUNK_BYTES // block)
        while at < stop:
            number, skip = divmod(at - self.start, block)
            blocks = min(step, -(-(stop - self.start) // block) - number)
            pieces: list[bytes] = []
            for one in range(self.first + number, self.first + number + blocks):
                pieces += (_MEMBER, self.name, b" member %010d\0" % one, self.body)
            chunk = b"".join(pieces)
            end = min(self.start + (number + blocks) * block, stop)
            yield chunk if skip == 0 and len(chunk) == end - at else chunk[skip : skip + end - at]
            at = end


# RFC 1952: magic, deflate, FLG = FCOMMENT, no time, unknown system.
_MEMBER = b"\x1f\x8b\x08\x10\0\0\0\0\0\xff"
_HEADER = len(_MEMBER)
_NUMBER = len(b" member 0000000000\0")
# The same with FEXTRA, behind it an empty deflate stream, its CRC and its length; 22 bytes is the least.
_PADDING = b"\x1f\x8b\x08\x04\0\0\0\0\0\xff"
_PADDING_END = b"\x03\0" + bytes(8)
_PADDING_LEAST = len(_PADDING) + 2 + len(_PADDING_END)
# Records per member; a member stays below 64 KiB, so that one padding member can always make up the rest.
_MEMBER_ROWS = (350, 40, 4)


@dataclass(frozen=True)
class SimulatedFile:
    """A file of an export.

    Attributes:
        name: its name, without folders.
        size: its exact size in bytes.
        table: the table that it is a partition of; None for the schema and the scripts.
        content: all its bytes, or the empty bytes where it is generated while it is read.
    """

    name: str
    size: int
    table: str | None
    content: bytes = b""
    runs: tuple[_Run, ...] = field(default=(), repr=False)
    padding: bytes = field(default=b"", repr=False)

    @cached_property
    def etag(self) -> str:
        """The MD5 of the content in hex; above 8 MiB `md5-parts`, as S3 gives it after a multipart upload."""
        if self.size > MULTIPART_BYTES:
            parts = -(-self.size // MULTIPART_BYTES)
            seen = hashlib.md5(f"{self.name}/{self.size}".encode(), usedforsecurity=False)
            return f"{seen.hexdigest()}-{parts}"
        digest = hashlib.md5(usedforsecurity=False)
        for chunk in self.read():
            digest.update(chunk)
        return digest.hexdigest()

    def read(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The bytes [start, stop), in pieces of about 1 MiB."""
        stop = self.size if stop is None else min(stop, self.size)
        if not self.runs and not self.padding:
            if start < stop:
                yield self.content[start:stop]
            return
        for run in self.runs:
            yield from run.read(start, stop)
        before = self.size - len(self.padding)
        if stop > before and start < self.size:
            yield self.padding[max(start - before, 0) : stop - before]


class Dice:
    """Numbers that follow from a seed, the same on every version of Python.

    Args:
        parts: the seed, by its text.
    """

    def __init__(self, *parts: object) -> None:
        self._seed = "/".join(map(str, parts)).encode()
        self._rolled = 0
        self._left: list[int] = []

    def _roll(self) -> int:
        """64 bits."""
        if not self._left:
            self._rolled += 1
            digest = hashlib.blake2b(self._seed + self._rolled.to_bytes(8, "big")).digest()
            self._left = list(struct.unpack("<8Q", digest))
        return self._left.pop()

    def random(self) -> float:
        """At least 0, less than 1."""
        return (self._roll() >> 11) * 2.0**-53

    def randrange(self, start: int, stop: int) -> int:
        """At least `start`, less than `stop`."""
        return start + self._roll() % (stop - start)

    def choice(self, options: Sequence[str]) -> str:
        """One of them."""
        return options[self._roll() % len(options)]


def _stamp(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S")


def _seldom(rng: Dice, share: float) -> bool:
    return rng.random() < share


# A value of each kind that is not a word, from the generator and the trigger hour.
_MADE: Mapping[str, Callable[[Dice, datetime], Any]] = {
    "int": lambda rng, _: rng.randrange(1, 90_000),
    "year": lambda rng, _: rng.randrange(1998, 2022),
    "imo": lambda rng, _: rng.randrange(9_000_000, 9_999_999),
    "money": lambda rng, _: round(math.exp(3 + 12 * (rng.random() + rng.random()) / 2), 2),
    "qty": lambda rng, _: round(rng.random() * 1000, 3),
    "degree": lambda rng, _: round(rng.random() * 170 - 85, 5),
    "flag": lambda rng, _: _seldom(rng, 0.3),
    "when": lambda rng, hour: (
        None if _seldom(rng, 0.1) else _stamp(hour + timedelta(minutes=rng.randrange(-40_000, 40_000)))
    ),
    "changed": lambda rng, hour: _stamp(hour - _LOOK_BACK * rng.random()),
    "email": lambda rng, _: f"{rng.choice(_WORDS['user'])}@example.com",
    "phone": lambda rng, _: f"+{rng.randrange(10**10, 10**11)}",
    "code": lambda rng, _: "".join(rng.choice("ABCDEFGHJKLMNPRSTUVWXYZ") for _ in range(5)),
    "text": lambda rng, _: None if _seldom(rng, 0.25) else rng.choice(_WORDS["text"]),
}


def _value(kind: str, rng: Dice, row: int, hour: datetime) -> Any:
    if kind == "id":
        return row
    made = _MADE.get(kind)
    return rng.choice(_WORDS[kind]) if made is None else made(rng, hour)


_TYPES: Mapping[str, str] = {
    "id": "Integer", "int": "Integer", "year": "Integer", "imo": "Integer", "money": "Decimal", "qty": "Decimal",
    "degree": "Decimal", "flag": "Boolean", "when": "DateTime", "changed": "DateTime",
}  # fmt: skip


def records(
    table: SimulatedTable, count: int, rng: Dice, hour: datetime, *, first: int | None = None
) -> Iterator[dict[str, Any]]:
    """So many records of a table, as they changed within the day before `hour`; their keys from `first` on."""
    first = rng.randrange(1_000, 9_000_000) if first is None else first
    for row in range(first, first + count):
        yield {name: _value(kind, rng, row, hour) for name, kind in table.columns}


def schema(tables: Sequence[SimulatedTable] = TABLES) -> bytes:
    """`_MasterTableSchema.json`: one object a table, with its columns."""
    entries = [
        {
            "DataObjectName": table.name,
            "Description": f"Rows of {table.name} that changed within the look-back window",
            "DataElements": [
                {
                    "ElementName": name,
                    "DataType": _TYPES.get(kind, "String"),
                    "IsNullable": kind in {"text", "when"},
                    "IsKey": kind == "id",
                }
                for name, kind in table.columns
            ],
        }
        for table in tables
    ]
    return json.dumps(entries, indent=1).encode()


def _script(table: SimulatedTable) -> bytes:
    sql = {"Integer": "bigint", "Decimal": "decimal(28, 8)", "Boolean": "bit", "DateTime": "datetime2"}
    columns = [f"  [{name}] {sql.get(_TYPES.get(kind, ''), 'nvarchar(max)')}" for name, kind in table.columns]
    return (f"create table [{table.name}] (\n" + ",\n".join(columns) + "\n);\n").encode()


def _lines(rows: Iterator[dict[str, Any]]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for row in rows)


def _natural(table: SimulatedTable, name: str, rows: int, rng: Dice, hour: datetime, first: int) -> SimulatedFile:
    found = records(table, rows, rng, hour, first=first)
    # Whether partitions are arrays or lines is not known: every fifth table comes as lines.
    as_lines = TABLES.index(table) % 5 == 0
    data = _lines(found) if as_lines else json.dumps(list(found), ensure_ascii=False).encode()
    content = gzip.compress(data, compresslevel=6, mtime=0)
    return SimulatedFile(name, len(content), table.name, content)


@lru_cache(maxsize=256)
def _member(table: SimulatedTable, rows: int) -> bytes:
    """What follows the header of a gzip member that holds so many records of a table."""
    hour = datetime(2022, 5, 10, 13, tzinfo=UTC)
    data = _lines(records(table, rows, Dice("member", table.name, rows), hour))
    press = zlib.compressobj(6, zlib.DEFLATED, -zlib.MAX_WBITS)
    return press.compress(data) + press.flush() + struct.pack("<II", zlib.crc32(data), len(data))


def sized(table: SimulatedTable, name: str, size: int) -> SimulatedFile:
    """A partition of exactly `size` bytes, generated while it is read (see the module)."""
    if size < _PADDING_LEAST:  # too small for any gzip file
        return SimulatedFile(name, size, table.name, b"\n" * size)
    runs: list[_Run] = []
    at = first = 0
    for rows in _MEMBER_ROWS:
        run = _Run(at, 1, first, name.encode(), _member(table, rows))
        room = size - at
        count = room // run.block
        if count and 0 < room - count * run.block < _PADDING_LEAST:
            count -= 1
        if count:
            runs.append(_Run(at, count, first, run.name, run.body))
            at, first = runs[-1].stop, first + count
    left = size - at
    padding = b""
    if left:
        extra = left - _PADDING_LEAST
        seen = hashlib.sha256(f"{name}/{size}".encode()).digest()
        filler = (seen * (extra // len(seen) + 1))[:extra]
        padding = _PADDING + struct.pack("<H", extra) + filler + _PADDING_END
    return SimulatedFile(name, size, table.name, b"", tuple(runs), padding)


def _busy(hour: datetime) -> float:
    """The share of the usual activity in this hour: more by day than by night, less at weekends."""
    swell = 0.75 + 0.35 * math.sin((hour.hour - 8) / 24 * 2 * math.pi)
    return swell * (0.45 if hour.weekday() >= 5 else 1.0)  # noqa: PLR2004 - Saturday and Sunday


def _partitions(tables: list[SimulatedTable], count: int) -> list[tuple[SimulatedTable, int]]:
    """So many (table, part): every table once, as far as it goes, and the more parts the more rows it has."""
    ordered = sorted(tables, key=lambda table: (-table.rows, table.name))
    if count <= len(ordered):
        return [(table, 0) for table in ordered[:count]]
    rest, total = count - len(ordered), sum(table.rows for table in ordered)
    parts = {table.name: 1 + rest * table.rows // total for table in ordered}
    for table in ordered[: count - sum(parts.values())]:
        parts[table.name] += 1
    found = [(table, part) for table in ordered for part in range(parts[table.name])]
    return sorted(found, key=lambda item: item[1])


def _skewed(count: int, total: int) -> list[int]:
    """So many sizes that add up to `total`, largest first, by a power law.

    The exponent 1.3 gives 600 files of 1 GB a largest of about 290 MB and a median of about 170 KB.
    """
    weights = [(rank + 1) ** -1.3 for rank in range(count)]
    scale = total / sum(weights)
    sizes = [int(weight * scale) for weight in weights]
    sizes[0] += total - sum(sizes)
    return sizes


@lru_cache(maxsize=4)
def _extras(*, with_schema: bool, with_scripts: bool) -> tuple[SimulatedFile, ...]:
    """The files beside the partitions: the same in every export, so all share them."""
    found = []
    if with_schema:
        found.append((SCHEMA_FILE, schema()))
    if with_scripts:
        by_rows = [table.name.encode() for table in sorted(TABLES, key=lambda table: table.rows)]
        found.append(("CreateTables.sql", b"\n".join(map(_script, TABLES))))
        found.append(("_PostLoad.sql", b"".join(b"update statistics [%s];\n" % name for name in by_rows)))
    return tuple(SimulatedFile(name, len(content), None, content) for name, content in found)


@lru_cache(maxsize=128)
def make_export(shape: ExportShape, config_name: str, hour: datetime) -> tuple[SimulatedFile, ...]:
    """The files of the export that was triggered for `config_name` within `hour` (UTC, the full hour)."""
    tables = [table for table in TABLES if table.name not in shape.absent]
    bare = shape.sizes is None and shape.files is not None and shape.files < 4  # noqa: PLR2004 - as documented
    extras = () if bare else _extras(with_schema=shape.schema, with_scripts=shape.scripts)
    sizes = list(shape.sizes) if shape.sizes is not None else None
    if sizes is not None:
        count = len(sizes)
    elif shape.files is not None:
        count = max(shape.files - len(extras), 0)
    else:
        count = len(tables) + sum(int(table.rows * shape.rows * _busy(hour)) // 150 for table in tables)
    if sizes is None and shape.total_bytes is not None and count:
        sizes = _skewed(count, shape.total_bytes)
    parts = _partitions(tables, count)
    per_table: dict[str, int] = {}
    for table, _ in parts:
        per_table[table.name] = per_table.get(table.name, 0) + 1
    found = []
    keys: dict[str, int] = {}  # the next one of each table: no two partitions hold the same
    for index, (table, part) in enumerate(parts):
        name = f"{table.name}_{hour:%Y%m%dT%H}_{part:04d}.json.gz"
        if sizes is not None:
            found.append(sized(table, name, sizes[index]))
        else:
            rng = Dice(shape.seed, config_name, hour.isoformat(), name)
            share = shape.rows * _busy(hour) * (0.7 + 0.6 * rng.random()) / per_table[table.name]
            rows = round(table.rows * share)
            first = keys.get(table.name) or Dice(shape.seed, hour.isoformat(), table.name).randrange(1_000, 9_000_000)
            keys[table.name] = first + rows
            found.append(_natural(table, name, rows, rng, hour, first))
    return (*extras, *found)


@lru_cache(maxsize=128)
def files_by_name(shape: ExportShape, config_name: str, hour: datetime) -> Mapping[str, SimulatedFile]:
    """The files of `make_export` by their names."""
    return {file.name: file for file in make_export(shape, config_name, hour)}
