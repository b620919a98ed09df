"""What fuzzing found, each once, by the shortest input that shows it."""

from __future__ import annotations

import gzip
import json
from email.utils import format_datetime
from typing import TYPE_CHECKING, Any

import pytest

from fuzzing.targets import HOUR, LAYOUT, NOW, TARGETS, Refused
from registry import registry
from viplake import config, redact, strictjson
from viplake.errors import CredentialsError, LakeError, SettingsError, VendorError, ViplakeError
from viplake.extract.ledger import _parse_event, is_dead
from viplake.history import build, chain, months
from viplake.history.datasets import JOBS, TABLES, _records, parse, render
from viplake.history.facts import run_facts
from viplake.judge import incident_records
from viplake.judge.evaluate import CheckSettings
from viplake.lake.layout import schema_tables
from viplake.lake.records import Worker, parse_event, parse_promise, parse_receipt, parse_utc
from viplake.model import Hour
from viplake.tables.schema import TableSchema, read_schema
from viplake.vendor.links import Origins, check_link
from viplake.vendor.veson.answers import read_list, read_token
from viplake.vendor.veson.too_early import next_allowed
from viplake.vendor.wire import HttpAnswer, retry_after

if TYPE_CHECKING:
    from pathlib import Path


def seed(name: str, **changed: Any) -> bytes:
    """The first good input of a target, a JSON object, with some members changed."""
    return json.dumps(json.loads(TARGETS[name].seeds[0]) | changed).encode()


# -- answers of the vendor -------------------------------------------------------------------------------------


def test_a_host_of_many_dashes_is_judged_at_once() -> None:
    with pytest.raises(VendorError, match="files may not come from there"):
        check_link("https://s3." + "a-" * 100 + ".example.com/x", Origins())
    with pytest.raises(VendorError, match="too long for a name"):
        check_link("https://" + "s3." * 5000 + "example.com/x", Origins())


def test_a_link_with_half_a_character_is_refused() -> None:
    with pytest.raises(VendorError, match="no plain https URL"):
        check_link("https://s3.amazonaws.com/b/\ud800", Origins())


@pytest.mark.parametrize("error", [["invalid_client"], {"a": 1}, 7, None])
def test_a_token_refusal_with_a_non_text_error_is_a_contract_violation(error: Any) -> None:
    with pytest.raises(VendorError) as caught:
        read_token(HttpAnswer(400, {}, json.dumps({"error": error}).encode()), NOW)
    assert caught.value.cause.word == "auth_contract"


@pytest.mark.parametrize(
    "text", [f"Tue, 10 May {'2' * 40} 14:00:00 GMT", "Tue, 10 May 2022 14:00:00 +99999999999999999"]
)
def test_a_retry_after_of_many_digits_is_ignored(text: str) -> None:
    assert retry_after(HttpAnswer(503, {"retry-after": text}), NOW) is None
    assert retry_after(HttpAnswer(503, {"retry-after": format_datetime(NOW.replace(minute=6), usegmt=True)}), NOW) == 60


def test_the_end_of_time_is_no_next_trigger() -> None:
    assert next_allowed("not before 9999-12-31T23:59:59Z", NOW) is None


def test_a_key_of_megabytes_makes_no_message_of_megabytes() -> None:
    entry = {"key": "x" * 3_000_000, "presignedDownloadURL": "https://s3.amazonaws.com/x", "size": 1}
    with pytest.raises(VendorError) as caught:
        read_list(HttpAnswer(200, {}, json.dumps([entry]).encode()), "g", lambda _: None, NOW)
    assert len(caught.value.message) < 3000


def test_a_message_is_one_line_of_text() -> None:
    error = ViplakeError("a\nb\x1b[2J\ud800\u2028é", hint="c\rd")
    assert error.message == "a\\nb\\x1b[2J\\ud800\\u2028é"
    assert error.hint == "c\\rd"
    assert str(error) == error.message


# -- JSON ------------------------------------------------------------------------------------------------------


def test_json_depth_limit_does_not_depend_on_the_caller() -> None:
    def nested(levels: int) -> bytes:
        return b"[" * levels + b"]" * levels

    repr(strictjson.loads(nested(strictjson.DEEPEST)))
    with pytest.raises(ValueError, match="too deep"):
        strictjson.loads(nested(strictjson.DEEPEST + 1))
    with pytest.raises(ValueError, match="too deep"):
        strictjson.loads(b'{"a":' * 101 + b"1" + b"}" * 101)
    assert strictjson.loads(b"[" + b",".join([b"[[]]"] * 200) + b"]") == [[[]]] * 200


@pytest.mark.parametrize("data", [rb'"\ud800"', rb'{"\udfff": 1}', rb'[["\uD83D"]]'])
def test_A3_half_a_character_is_no_text(data: bytes) -> None:
    with pytest.raises(ValueError, match="half a character"):
        strictjson.loads(data)
    strictjson.loads(data, halves=True)
    assert strictjson.loads(rb'"\ud83d\ude00"') == "\U0001f600"


@pytest.mark.parametrize("value", [True, -1, 2**63, 1.0, None, "", "-1", "\u0663", "1" * 20, [1]])
def test_a_count_is_a_whole_number_from_0_to_63_bits(value: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        strictjson.count_of(value)
    assert [strictjson.count_of(good) for good in (0, 2**63 - 1, "12")] == [0, 2**63 - 1, 12]


# -- records of the lake ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1999-12-31T23:59:59Z"])
def test_a_time_at_the_end_of_time_is_no_time_of_a_record(text: str) -> None:
    with pytest.raises(ValueError, match="not a time in a record"):
        parse_utc(text)
    assert parse_utc("2022-05-10T15:00:00.123456+02:00").isoformat() == "2022-05-10T13:00:00.123000+00:00"


@pytest.mark.parametrize(
    "entry", [{"key": None}, {"key": ["a"]}, {"size": -1}, {"size": 1.5}, {"size": True}, {"size": 2**63}]
)
def test_a_manifest_with_an_entry_that_is_not_a_file_is_damaged(entry: dict[str, Any]) -> None:
    with pytest.raises(LakeError) as caught:
        parse_promise(json.dumps([{"key": "a/x", "size": 1} | entry]).encode())
    assert caught.value.cause.word == "ledger_damaged"


@pytest.mark.parametrize(
    "changed",
    [
        {"environment": 3},
        {"company": None},
        {"job_guid": ["x"]},
        {"files": [{"name": ["x"], "key": "x", "size": 1, "md5": "0"}]},
        {"files": [{"name": "x", "key": "x", "size": 1, "md5": None}]},
        {"files": [{"name": "x", "key": "x", "size": 1, "md5": "0", "etag": 7}]},
    ],
)
def test_a_receipt_with_non_text_members_is_damaged(changed: dict[str, Any]) -> None:
    with pytest.raises(LakeError) as caught:
        parse_receipt(seed("layout.parse_receipt", **changed))
    assert caught.value.cause.word == "ledger_damaged"


@pytest.mark.parametrize(
    "name", ["1.json", "0001", "00001.json", "\u0660\u0660\u0660\u0661.json", "0000001.json", "1" * 5000 + ".json"]
)
def test_a_name_that_viplake_never_gave_is_no_event(name: str) -> None:
    assert LAYOUT.parse_event(LAYOUT.ledger(HOUR) + name) is None
    assert LAYOUT.parse_event("20220510/13/0001.json") is None
    assert LAYOUT.parse_event(LAYOUT.event(HOUR, 12_345)) == (HOUR, 12_345)


def test_digits_of_other_scripts_name_no_folder() -> None:
    assert LAYOUT.parse_file("IMOSDL/Hourly/\uff12\uff1022\u0660510/13/x.json") is None


@pytest.mark.parametrize(
    "changed",
    [
        {"detail": ["x"]},
        {"job_guid": 7},
        {"nonce": None},
        {"worker": {"host": None, "pid": 1}},
        {"worker": {"host": "h", "pid": -1}},
        {"worker": {"host": "h", "pid": 10**30}},
        {"at": "9999-12-31T23:59:59Z"},
    ],
)
def test_an_event_with_invalid_members_is_damaged(changed: dict[str, Any]) -> None:
    with pytest.raises(LakeError) as caught:
        _parse_event(seed("ledger._parse_event", **changed), "k", None)
    assert caught.value.cause.word == "ledger_damaged"


def test_a_process_of_a_number_that_no_system_gives_is_dead() -> None:
    assert is_dead(Worker("h", 2**62), Worker("h", 1))


@pytest.mark.parametrize(
    "changed", [{"detail": ["x"]}, {"seconds": {"init": 10**400}}, {"bytes": -1}, {"posts": 2**63}]
)
def test_an_invalid_last_event_gives_no_run(changed: dict[str, Any]) -> None:
    with pytest.raises(LakeError):
        run_facts(parse_event(seed("facts.run_facts", **changed), "k"))


def _one(**changed: Any) -> bytes:
    record = json.loads(TARGETS["incident_records.unpack"].seeds[0])
    record["incidents"] = [record["incidents"][0] | changed]
    return json.dumps(record).encode()


@pytest.mark.parametrize(
    "changed",
    [
        {"hour": "page"},
        {"members": []},
        {"members": [["missing_job", None, "x", None]]},
        {"members": [[["r"], None, "2022-05-10T12", None]]},
        {"group": None},
        {"tellings": [{"kind": "shouted"}]},
    ],
)
def test_incidents_that_cannot_be_are_damaged(changed: dict[str, Any]) -> None:
    assert incident_records.unpack(_one()).incidents
    with pytest.raises(LakeError) as caught:
        incident_records.unpack(_one(**changed))
    assert caught.value.cause.word == "ledger_damaged"


@pytest.mark.parametrize("row", ["2022052,1,2", "20220510-12,1", "20220510-12,1,2,3", '"'])
def test_a_history_with_malformed_rows_is_damaged(row: str) -> None:
    record = {"format": 1, "built": True, "datasets": {"historical_job_size": f"date,size,files\n{row}\n"}}
    with pytest.raises(LakeError) as caught:
        chain.unpack(json.dumps(record).encode())
    assert caught.value.cause.word == "ledger_damaged"


@pytest.mark.parametrize("row", [b"20220510-12,Port,1", b"20220510-12,Port,x,1", b"\xff,Port,1,1", b"x,Port,1,1"])
def test_table_volumes_with_malformed_rows_are_damaged(row: bytes) -> None:
    with pytest.raises(LakeError) as caught:
        months._parse(b"hour,table,partitions,bytes\n" + row)
    assert caught.value.cause.word == "ledger_damaged"


def test_the_schema_cache_of_an_earlier_pass_is_text_or_ignored() -> None:
    record = {"format": 1, "kept": True, "tables": {"0a": [["Voyage"]]}, "seen": [["etag", 1, "0a"]]}
    assert build._parse_schemas(json.dumps(record).encode()) == {}


# -- the schema ------------------------------------------------------------------------------------------------


def test_A3_half_a_character_costs_a_table_s_name_but_not_a_column_s() -> None:
    assert schema_tables(rb'[{"DataObjectName": "V\ud83d"}]') is None
    assert read_schema(rb'[{"DataObjectName": "V\ud83d"}]') is None
    data = rb'[{"DataObjectName": "V", "Columns": [{"Name": "A\ud83d", "Type": "t"}]}]'
    assert schema_tables(data) == ("V",)
    assert read_schema(data) == {"V": TableSchema({"A?": "t"})}


@pytest.mark.parametrize("name", [None, 7, ["V"], {}])
def test_a_non_text_table_name_makes_the_schema_unreadable(name: Any) -> None:
    data = json.dumps([{"DataObjectName": name}]).encode()
    assert schema_tables(data) is None
    assert read_schema(data) is None


# -- CSV files -------------------------------------------------------------------------------------------------


def test_half_a_character_in_a_list_of_tables_is_no_row() -> None:
    row = rb'20220510-12,1,2,1,"[""\ud800""]",0.5'
    parsed = parse(TABLES, ",".join(TABLES.columns).encode() + b"\n" + row)
    assert parsed.frame.rows == {}
    render(TABLES, parsed.frame)


@pytest.mark.parametrize("date", ["02220510-13", "00010101-00", "19991231-23", "99991231-23"])
def test_a_year_that_is_a_slip_is_no_row_and_no_hour(date: str) -> None:
    parsed = parse(JOBS, f"date,jobDelivered,JobExpected\n{date},1,1\n20220510-13,1,1\n".encode())
    assert list(parsed.frame.rows) == [HOUR]
    with pytest.raises(SettingsError, match="not an Hour"):
        Hour.parse(date)


def test_a_carriage_return_within_a_cell_does_not_tear_the_row() -> None:
    data = b'date,jobDelivered,JobExpected,note\n20220510-13,1,1,"a\rb\r\nc"\n'
    frame = parse(JOBS, data).frame
    assert frame.rows[HOUR][-1] == "a\nb\nc"
    again = parse(JOBS, render(JOBS, frame))
    assert (again.frame, again.unreadable) == (frame, ())


@pytest.mark.parametrize("count", ["1e300", "9" * 40, "-1", "inf"])
def test_a_count_that_nothing_can_hold_is_no_row(count: str) -> None:
    assert parse(JOBS, f"date,jobDelivered,JobExpected\n20220510-13,{count},1\n".encode()).frame.rows == {}


@pytest.mark.system
def test_a_cell_without_an_end_takes_no_other_row_with_it() -> None:
    long = "x" * (1 << 24)
    data = f'date,jobDelivered,JobExpected\n20220510-12,1,"\n{long}\n{long}\n20220510-13,1,1\n'.encode()
    assert list(parse(JOBS, data).frame.rows) == [HOUR]
    with pytest.raises(SettingsError, match="it has no column"):
        parse(JOBS, b'"' + long.encode() * 2)


def test_lines_that_are_no_rows_are_each_read_a_few_times_however_many_there_are() -> None:
    looks = 0

    class Counted(list[str]):
        def __getitem__(self, place: Any) -> Any:
            nonlocal looks
            found = super().__getitem__(place)
            looks += len(found) if isinstance(place, slice) else 1
            return found

    lines = Counted(['"\n'] * 1000)
    assert len(_records(lines, ",", 3)) == 1000
    assert looks < 10 * len(lines)


# -- settings --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("poll_seconds = " + "9" * 5000, "is not TOML"),
        ("a." * 200 + "b = 1", "nested too deep"),
        ("[rules]\nlook_back_hours = " + "9" * 400, "look_back_hours of [rules] in viplake.toml is 999"),
        ("[rules]\nlook_back_hours = nan", "look_back_hours of [rules] in viplake.toml is nan"),
        ('[notify]\nwebhook = "https://[::1"', "webhook of [notify] in viplake.toml is no URL"),
        ('lake = "file:///a%00b"', "neither s3://bucket[/prefix] nor file:///absolute/folder"),
    ],
)
def test_settings_that_cannot_be_are_one_clear_line(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "viplake.toml").write_text(text)
    with pytest.raises(SettingsError) as caught:
        CheckSettings.parse(config.load(environ={"VIPLAKE_ENVIRONMENT": "Prod"}, cwd=tmp_path).sections)
    assert said in caught.value.message


@pytest.mark.parametrize("place", ["file:~nobody-of-that-name/x.json", "file:a\0b", "file:///x%00y", "file://[::1/x"])
def test_a_secret_file_that_cannot_be_is_refused(tmp_path: Path, place: str) -> None:
    (tmp_path / "viplake.toml").write_text(f"secrets = {json.dumps(place)}")
    settings = config.load(environ={"VIPLAKE_ENVIRONMENT": "Prod"}, cwd=tmp_path)
    with pytest.raises((CredentialsError, SettingsError)):
        config.Secrets.of(settings).read()


def test_a_configuration_file_in_an_unknown_home_does_not_exist(tmp_path: Path) -> None:
    environ = {"VIPLAKE_ENVIRONMENT": "Prod", "VIPLAKE_CONFIG": "~nobody-of-that-name/viplake.toml"}
    with pytest.raises(SettingsError, match="there is no"):
        config.load(environ=environ, cwd=tmp_path)


@pytest.mark.parametrize("prefix", ["IMOSDL\udcff/Hourly/", "IMOSDL\x7f/"])
def test_a_prefix_that_no_key_can_have_is_refused(tmp_path: Path, prefix: str) -> None:
    with pytest.raises(SettingsError, match="not a prefix"):
        config.load(environ={"VIPLAKE_ENVIRONMENT": "Prod", "VIPLAKE_PREFIX": prefix}, cwd=tmp_path)


@pytest.mark.parametrize("line", ["{}b = 1", "[{}b]", 'webhook.{}b = "x"'])
def test_a_key_of_thousands_of_parts_is_refused_before_parsing(tmp_path: Path, line: str) -> None:
    (tmp_path / "viplake.toml").write_text(f'[notify]\nwebhook = "x"\n{line.format("a." * 12_000)}\n')
    with pytest.raises(SettingsError, match="more than 300 dots"):
        config.load(environ={"VIPLAKE_ENVIRONMENT": "Prod"}, cwd=tmp_path)


@pytest.mark.system
def test_a_proxy_of_kilobytes_costs_no_pattern_until_a_text_holds_it(tmp_path: Path) -> None:
    """Compiling the seven of 6,000 characters took most of a second of each command's start."""
    proxy = f"http://user:{'pässword.' * 900}@proxy:1"
    environ = {"VIPLAKE_ENVIRONMENT": "Prod", "HTTPS_PROXY": proxy}
    with registry():
        config.load(environ=environ, cwd=tmp_path)
        forms = [form for some in redact._registered.values() for form in some]
        assert forms
        assert {form._pattern for form in forms} == {None}
        assert "pässword" not in redact.redact(f"no way to {proxy}")


# -- and as they came ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", TARGETS)
def test_good_input_is_read(name: str) -> None:
    TARGETS[name].run(TARGETS[name].seeds[0])


def test_a_version_that_is_cut_short_is_damaged() -> None:
    with pytest.raises(Refused):
        TARGETS["versions.content"].run(gzip.compress(b"x" * 99)[:-9])
