"""The cloud's ways in: what they return, print and raise, over sockets against the simulator and a folder."""

from __future__ import annotations

import json
import keyword
import re
import subprocess
import sys
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args, get_origin

import pytest

from canary import CANARIES
from fakes import FakeClock
from viplake import aws
from viplake.cli import COMMANDS, app, load
from viplake.clock import SystemClock
from viplake.commands.demo import StoryClock
from viplake.commands.options import Options, Window
from viplake.config import SETTINGS
from viplake.errors import SettingsError, ViplakeError
from viplake.model import Hour
from viplake.simulator import ExportShape, Simulator, SimulatorSettings, running

if TYPE_CHECKING:
    from collections.abc import Iterator

    from viplake.extract.outcome import Outcome

pytestmark = pytest.mark.system

LONG = 900.0
AT_COMPLETE = datetime(2022, 5, 10, 13, 20, tzinfo=UTC)


@dataclass
class Function:
    """A Lambda function as its schedule sees it."""

    environ: dict[str, str]
    clock: StoryClock
    printed: list[dict[str, Any]] = field(default_factory=list)

    def invoke(self, seconds: float = LONG) -> dict[str, Any]:
        return aws.ticked(seconds, environ=self.environ, clock=self.clock, emit=self._print)

    def _print(self, line: str) -> None:
        self.printed.append(json.loads(line))


@pytest.fixture
def clock() -> StoryClock:
    """Sixty times as fast as the wall, early in an Hour, so that no test sees its Hour end."""
    return StoryClock([(SystemClock().now(), datetime(2022, 5, 10, 13, 1, tzinfo=UTC))])


@pytest.fixture
def vendor(clock: StoryClock) -> Iterator[Simulator]:
    settings = SimulatorSettings(
        company="ACME",
        client_id=CANARIES.client_id,
        client_secret=CANARIES.client_secret,
        replication_seconds=600,
        export=ExportShape(files=12),
    )
    with running(settings, clock=clock) as simulator:
        yield simulator


def environ_for(vendor: Simulator, lake: str) -> dict[str, str]:
    return {
        "VIPLAKE_ENVIRONMENT": "Prod",
        "VIPLAKE_LAKE": lake,
        "VIPLAKE_COMPANY": "ACME",
        "VIPLAKE_CLIENT_ID": CANARIES.client_id,
        "VIPLAKE_CLIENT_SECRET": CANARIES.client_secret,
        "VIPLAKE_TOKEN_URL": vendor.token_url,
        "VIPLAKE_EXPORT_URL": vendor.export_url,
        "VIPLAKE_FILES_URL": vendor.files_url,
        "VIPLAKE_ALLOW_INSECURE_HTTP": "true",
        "VIPLAKE_LOG_LEVEL": "CRITICAL",
    }


@pytest.fixture
def function(vendor: Simulator, clock: StoryClock, tmp_path: Path) -> Function:
    return Function(environ_for(vendor, f"file://{tmp_path}/lake"), clock)


def test_ticks_deliver_an_hour_and_emit_one_metric(function: Function, tmp_path: Path) -> None:
    first = function.invoke()
    assert (first["outcome"], first["cause"], first["exit_code"]) == ("waiting", "waiting", 75)
    assert function.printed == []
    function.clock.skip_to(AT_COMPLETE)
    second = function.invoke()
    assert (second["outcome"], second["files"], second["exit_code"]) == ("delivered", 12, 0)
    third = function.invoke()
    assert third["outcome"] == "delivered"
    [line] = function.printed
    assert (line["Delivered"], line["Environment"], line["hour"]) == (1, "Prod", "2022-05-10T13")
    assert (tmp_path / "lake/IMOSDL/Hourly/20220510/13/_Receipt.json").exists()
    history = (tmp_path / "lake/IMOSDL/Observability/historical_job_metrics.csv").read_text()
    assert "20220510-13,1,1" in history


def test_the_metric_has_the_form_that_cloudwatch_reads(function: Function) -> None:
    function.invoke()
    function.clock.skip_to(AT_COMPLETE)
    before = function.clock.now()
    function.invoke()
    [line] = function.printed
    [directive] = line["_aws"]["CloudWatchMetrics"]
    assert set(line["_aws"]) == {"Timestamp", "CloudWatchMetrics"}
    assert directive == {
        "Namespace": "VipLake",
        "Dimensions": [["Environment"]],
        "Metrics": [{"Name": "Delivered", "Unit": "Count"}],
    }
    stamped = datetime.fromtimestamp(line["_aws"]["Timestamp"] / 1000, UTC)
    assert before - timedelta(seconds=1) <= stamped <= function.clock.now()
    for name in (name for names in directive["Dimensions"] for name in names):
        assert isinstance(line[name], str)


def test_an_hour_that_fails_is_a_zero_and_no_exception(function: Function, vendor: Simulator) -> None:
    function.invoke()
    vendor.faults.add("status:word:value=Failed")
    told = function.invoke()
    assert (told["outcome"], told["cause"], told["owner"], told["exit_code"]) == (
        "failed",
        "vendor_job_failed",
        "vendor",
        69,
    )
    assert [line["Delivered"] for line in function.printed] == [0]


def test_X2_a_tick_that_runs_out_of_time_ends_and_the_next_one_goes_on(function: Function, vendor: Simulator) -> None:
    function.invoke()
    function.clock.skip_to(AT_COMPLETE)
    vendor.faults.add("download:hang")
    for seconds in (0.5, 2, 8, 30):  # whatever a busy machine needs to come to the downloads; they hang for ever
        cut = function.invoke(seconds=aws.RESERVE_SECONDS + seconds)
        if vendor.requests.count("download"):
            break
    assert (cut["outcome"], cut["cause"], cut["exit_code"]) == ("waiting", "interrupted", 75)
    assert vendor.requests.count("download") > 0
    assert function.printed == []
    vendor.faults.clear()
    assert function.invoke()["outcome"] == "delivered"
    assert vendor.requests.count("trigger") == 1
    assert [line["Delivered"] for line in function.printed] == [1]


def test_without_time_nothing_is_begun(function: Function, vendor: Simulator) -> None:
    told = function.invoke(seconds=aws.RESERVE_SECONDS)
    assert (told["outcome"], told["cause"]) == ("waiting", "interrupted")
    assert vendor.requests.count("token") == 0


@pytest.mark.parametrize(
    ("change", "cause", "code"),
    [
        ({"VIPLAKE_ENVIRONMENT": "prod"}, "config", 2),
        ({"VIPLAKE_LAEK": "s3://x"}, "config", 2),
        ({"VIPLAKE_SECRETS": "file:/nowhere.json"}, "secrets_missing", 77),
    ],
)
def test_a_wrong_setting_is_returned_not_raised(
    function: Function, change: dict[str, str], cause: str, code: int
) -> None:
    function.environ |= change
    told = function.invoke()
    assert (told["outcome"], told["cause"], told["owner"], told["exit_code"]) == ("failed", cause, "us", code)
    json.dumps(told)


def test_a_defect_is_reported_without_its_traceback(function: Function) -> None:
    class Broken(FakeClock):
        def now(self) -> datetime:
            raise ZeroDivisionError(f"with {CANARIES.client_secret}")

    told = aws.ticked(LONG, environ=function.environ, clock=Broken(), emit=print)
    assert (told["cause"], told["exit_code"]) == ("unexpected", 70)
    assert CANARIES.client_secret not in json.dumps(told)
    assert re.search(r"^ZeroDivisionError: with .* \(at .*aws\.py:\d+", told["detail"]), "where to look for it"


# -- Glue -----------------------------------------------------------------------------------------------------


def test_glues_own_parameters_are_ignored_and_ours_become_settings() -> None:
    job = aws.glue_arguments(
        [
            "--JOB_NAME",
            "viplake",
            "--viplake-environment",
            "Test",
            "--enable-metrics",
            "true",
            "--viplake_lake=s3://b/p",
        ]
    )
    assert job == aws.GlueJob("tick", None, {"environment": "Test", "lake": "s3://b/p"}, {})


def test_every_setting_is_a_parameter_of_the_job() -> None:
    arguments = [word for s in SETTINGS for word in (f"--viplake-{s.name.replace('_', '-')}", f"value of {s.name}")]
    job = aws.glue_arguments(arguments)
    assert job.settings == {setting.name: f"value of {setting.name}" for setting in SETTINGS}


@pytest.mark.parametrize("command", [name for commands in COMMANDS.values() for name in commands])
def test_every_command_is_one_of_the_job(command: str) -> None:
    job = aws.glue_arguments(["--viplake-command", command, "--JOB_NAME", "x"])
    assert (job.command, job.is_plain) == (command, command in {"tick", "run", "content"})


def value_for(kind: object) -> str:
    """Return a value that an option of this type accepts."""
    accepted = [member for member in get_args(kind) if member is not type(None)] or [kind]
    if get_origin(accepted[0]) is Literal:
        accepted = list(get_args(accepted[0]))
    if isinstance(accepted[0], str):
        return accepted[0]
    values = {bool: "true", int: "3", float: "1.5", str: "a = --b", Path: "name", Hour: "2022-05-10T13"}
    return values[accepted[0]] if get_origin(kind) is not tuple else "a,b"


@pytest.mark.parametrize("command", [name for commands in COMMANDS.values() for name in commands])
def test_every_option_and_argument_of_every_command_is_a_parameter_of_the_job(command: str) -> None:
    settings = {setting.name.replace("_", "-") for setting in SETTINGS}
    known = {
        argument.name.removeprefix("--"): value_for(argument.hint)
        for argument in load(command).assemble_argument_collection()
        if argument.name != "*"
    }
    words = [word for name, value in known.items() for word in (f"--viplake-{name}", value)]
    job = aws.glue_arguments(["--JOB_NAME", "x", "--viplake-command", command, *words, "--TempDir", "s3://t/"])
    options = {name: value for name, value in known.items() if name not in settings}
    assert job.options == options
    assert {name.replace("_", "-") for name in job.settings} == known.keys() - options.keys()
    _, bound, ignored = app.parse_args(aws.command_line(job), exit_on_error=False, print_error=False)
    assert not ignored
    given = {
        name: value
        for argument, values in bound.arguments.items()
        for name, value in (asdict(values) if isinstance(values, Options | Window) else {argument: values}).items()
    }
    for name in options:
        assert given[f"{name}_" if keyword.iskeyword(name) or name == "id" else name.replace("-", "_")], name


@pytest.mark.parametrize(
    "arguments",
    [
        ["--viplake-enviroment", "Prod"],
        ["--viplake-environment"],
        ["--viplake-command", "colect"],
        ["--viplake-command", "collect", "--viplake-huor", "2022-05-10T13"],
        ["--viplake-command", "tick", "--viplake-rebuild", "true"],
        ["--viplake-command", "observe", "--viplake-rebuild"],
        ["--viplake-env", "Prod"],
    ],
)
def test_X6_a_wrong_parameter_is_an_error_and_never_a_system_exit(arguments: list[str]) -> None:
    with pytest.raises(SettingsError):
        aws.glue_arguments(arguments)


@pytest.fixture
def job_parameters(vendor: Simulator, tmp_path: Path) -> list[str]:
    secret = tmp_path / "secret.json"
    secret.write_text(
        json.dumps({"Veson_client_id": CANARIES.client_id, "Veson_client_secret": CANARIES.client_secret})
    )
    secret.chmod(0o600)
    environ = environ_for(vendor, f"file://{tmp_path}/lake") | {"VIPLAKE_SECRETS": f"file:{secret}"}
    del environ["VIPLAKE_CLIENT_ID"], environ["VIPLAKE_CLIENT_SECRET"]
    return ["job.py"] + [w for name, value in environ.items() for w in ("--" + name.lower().replace("_", "-"), value)]


def test_a_glue_job_ticks_and_prints_the_outcome(
    job_parameters: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ended: list[Outcome] = []
    told = aws.glue_main(job_parameters, put_metric=ended.append)
    assert told["outcome"] == "waiting"
    assert json.loads(capsys.readouterr().out) == told
    assert ended == []
    assert list((tmp_path / "lake/IMOSDL/_viplake/ledger").rglob("0002.json"))


def test_X6_a_glue_job_that_fails_raises_its_cause(job_parameters: list[str], vendor: Simulator) -> None:
    ended: list[Outcome] = []
    vendor.faults.add("trigger:forbidden")
    with pytest.raises(ViplakeError) as caught:
        aws.glue_main(job_parameters, put_metric=ended.append)
    assert caught.value.cause.word == "auth_forbidden"
    assert CANARIES.client_secret not in str(caught.value)


def test_a_glue_job_runs_a_command_with_its_options(job_parameters: list[str], tmp_path: Path) -> None:
    """In a process of its own, as Glue does: the settings reach the command through the environment."""
    source = tmp_path / "source" / "IMOSDL" / "Hourly" / "20220510" / "13"
    source.mkdir(parents=True)
    (source / "Voyage.json").write_text("[]")
    (tmp_path / "lake").mkdir()
    more = {
        "command": "consolidate",
        "source-url": f"file://{tmp_path}/source",
        "exclude": "2022-05-01T00/2022-05-02T00,2022-05-03T00/2022-05-04T00",
        "dry_run": "true",
        "json": "true",
    }
    argv = [
        *job_parameters,
        "--JOB_NAME",
        "x",
        *(w for name, value in more.items() for w in (f"--viplake-{name}", value)),
    ]
    code = "import sys; from viplake.aws import glue_main; glue_main(sys.argv)"
    done = subprocess.run([sys.executable, "-c", code, *argv[1:]], capture_output=True, text=True, check=True)
    printed, told = done.stdout.rsplit("\n", 2)[:2]
    assert json.loads(told) == {"schema_version": 1, "command": "consolidate", "outcome": "done", "exit_code": 0}
    assert json.loads(printed)["dry_run"] is True


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["verify"], "no Hour of this lake has a Receipt to verify"),
        (["verify", "--viplake-from", "yesterday"], "yesterday"),
        (["prune", "--viplake-keep", "many", "--viplake-older-than", "90d"], "keep"),
    ],
)
def test_X6_a_glue_job_raises_the_error_of_its_command(
    job_parameters: list[str], tmp_path: Path, arguments: list[str], message: str
) -> None:
    (tmp_path / "lake").mkdir()
    code = (
        "import sys\nfrom viplake.aws import glue_main\nfrom viplake.errors import ViplakeError\n"
        "try: glue_main(sys.argv)\nexcept ViplakeError as error: print(error.message)"
    )
    argv = [*job_parameters[1:], "--viplake-command", *arguments]
    done = subprocess.run([sys.executable, "-c", code, *argv], capture_output=True, text=True, check=True)
    assert message in done.stdout
