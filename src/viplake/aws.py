"""I/O. The entry points of AWS: a Lambda function that ticks, and a Glue job that runs any command.

The function succeeds for AWS also when an Hour failed: the outcome is in the lake, in the log and in one metric,
`Delivered`, which the dead-man alarm watches. It stops before AWS would kill it. The lake holds all work done, the next
call continues from there, and AWS itself retries nothing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn, Protocol

import structlog

from viplake import config, log
from viplake.clock import Clock, SystemClock
from viplake.commands.assembly import content, lake_to_read
from viplake.commands.delivery import extraction
from viplake.commands.follow_up import after_settling
from viplake.errors import CHECKS_FAILED, OK, WAITING, NotYet, SettingsError, ViplakeError, describe
from viplake.extract.outcome import SCHEMA_VERSION, Outcome, outcome_of
from viplake.redact import redact

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping, Sequence

    from viplake.extract.extraction import Extraction
    from viplake.model import Hour

logger = structlog.get_logger(__name__)

NAMESPACE: Final = "VipLake"
METRIC: Final = "Delivered"
"""1 for each Hour delivered, 0 for each that failed, when it ends; by `Environment`."""

RESERVE_SECONDS: Final = 60.0
"""Seconds that an invocation leaves unused, so that it stops in good order and is never killed within a write."""

Verb = Literal["tick", "run"]

PROFILED_HOURS: Final = 24
"""Hours that the content job of Glue profiles. It runs once a day."""


class LambdaContext(Protocol):
    """The part of Lambda's context that is used (AWS Lambda Developer Guide, "context object in Python")."""

    def get_remaining_time_in_millis(self) -> int:
        """Return the milliseconds until Lambda kills this invocation."""
        ...


# -- Lambda ---------------------------------------------------------------------------------------------------


def lambda_handler(event: object, context: LambdaContext) -> dict[str, Any]:
    """Run one tick; for a schedule of every 2 to 5 minutes. Settings come from the environment; the event is ignored.

    Returns:
        As `viplake tick --json` prints it, and `exit_code`. Also for a failure, which Lambda must not retry.
    """
    del event
    return ticked(context.get_remaining_time_in_millis() / 1000)


def ticked(
    seconds: float,
    *,
    environ: Mapping[str, str] | None = None,
    clock: Clock | None = None,
    emit: Callable[[str], None] = print,
) -> dict[str, Any]:
    """Run one tick that ends at least `RESERVE_SECONDS` before the `seconds` are over.

    Args:
        seconds: until AWS kills this process.
        environ: settings. None: this process's environment.
        clock: None: the system's clock.
        emit: prints a line from which CloudWatch reads the metric (embedded metric format).
    """
    clock = clock or SystemClock()

    def emit_metric(ended: Outcome) -> None:
        emit(json.dumps(embedded_metric(ended, clock)))

    async def work() -> Outcome:
        return await _advance(_settings(environ=environ), "tick", seconds - RESERVE_SECONDS, clock, emit_metric)

    return _result(work)


def embedded_metric(outcome: Outcome, clock: Clock) -> dict[str, Any]:
    """Return the metric of a final Hour, as CloudWatch reads it from a line of the log.

    CloudWatch User Guide, "Specification: Embedded metric format". The other members are for searches in the log.
    """
    return {
        "_aws": {
            "Timestamp": int(clock.now().timestamp() * 1000),
            "CloudWatchMetrics": [
                {
                    "Namespace": NAMESPACE,
                    "Dimensions": [["Environment"]],
                    "Metrics": [{"Name": METRIC, "Unit": "Count"}],
                }
            ],
        },
        "Environment": outcome.environment,
        METRIC: _delivered(outcome),
        "hour": str(outcome.hour),
        "cause": outcome.cause,
        "owner": outcome.owner,
        "files": outcome.files,
        "bytes": outcome.bytes,
        "late": outcome.late,
    }


# -- Glue -----------------------------------------------------------------------------------------------------


def glue_main(
    argv: Sequence[str],
    *,
    environ: Mapping[str, str] | None = None,
    clock: Clock | None = None,
    put_metric: Callable[[Outcome], None] | None = None,
) -> dict[str, Any]:
    """Run a Glue job: one tick, or the command of `--viplake-command`.

    `content` without options profiles the last day on Glue's Spark; findings of `content` and `check` fail no job.

    Args:
        argv: as `sys.argv`: job parameters such as `--viplake-environment Prod`, one for each setting and each option
            of the command (`--viplake-dry-run true`, a list with commas). They win over `viplake.toml`, which
            *Referenced files path* puts in the working directory. Glue's own parameters are ignored.
        environ: as of `ticked`, for `tick`, `run` and `content`; other commands read the process's environment.
        clock: as of `ticked`.
        put_metric: stores the metric of an Hour that ended; None: CloudWatch does.

    Returns:
        As `viplake tick --json` prints it, as `Profiled`, or `command` and `outcome`; and `exit_code`.

    Raises:
        ViplakeError: the Hour or the command failed. Glue then shows the run as failed, with this text. `SystemExit` is
            never raised: whether Glue takes it for success or failure depends on its version.
    """

    async def work(job: GlueJob) -> Outcome | Profiled:
        around = dict(config.environment() if environ is None else environ)
        if job.region:  # Glue does not promise to set it
            around["AWS_REGION"] = job.region
        settings = _settings(job, environ=around)
        if job.command == "content":
            return await _profiled(settings)
        store = put_metric or (lambda ended: _put_metric(ended, settings))
        observes = job.options.get("only-deliver", "false") != "true"
        verb: Verb = "run" if job.command == "run" else "tick"
        return await _advance(settings, verb, None, clock or SystemClock(), store, observes=observes)

    job = glue_arguments(argv[1:])
    if job.is_plain:
        result = _result(lambda: work(job))
        if result["outcome"] == "failed":
            raise ViplakeError(
                f"{result['hour'] or 'viplake'} failed: {result['detail'] or result['cause']}", cause=result["cause"]
            )
    else:
        result = _run_command(job)
    print(json.dumps(result))  # noqa: T201 - the job's output
    return result


class _Parser(argparse.ArgumentParser):
    """Raises the project's own error; argparse itself would end the process."""

    def error(self, message: str) -> NoReturn:
        raise SettingsError(f"the job's parameters are wrong: {message}", hint="Correct them in the job's details.")


@dataclass(frozen=True, slots=True)
class GlueJob:
    """The parameters of a Glue job that concern viplake.

    Attributes:
        command: a name of `cli.COMMANDS`.
        region: AWS region, where one is given.
        settings: setting -> value.
        options: option of the command, without its dashes -> value.
    """

    command: str
    region: str | None
    settings: dict[str, str]
    options: dict[str, str]

    @property
    def is_plain(self) -> bool:
        """Whether it runs without a command line: `tick` and `run` store a metric, `content` uses Spark."""
        return self.command in _PLAIN and self.options.keys() <= _PLAIN[self.command]


_PROFILE: Final = frozenset({"config", "profile"})
_PLAIN: Final[Mapping[str, frozenset[str]]] = {
    "tick": _PROFILE | {"only-deliver"},
    "run": _PROFILE | {"only-deliver"},
    "content": _PROFILE,
}
"""Command -> the options with which it needs no command line."""


def glue_arguments(arguments: Sequence[str]) -> GlueJob:
    """Return the command, the AWS region, the settings and the options among a Glue job's many parameters.

    Raises:
        SettingsError: a parameter of ours is unknown or lacks its value.
    """
    from viplake import cli  # noqa: PLC0415 - a Lambda function does without

    parser = _Parser(add_help=False, allow_abbrev=False)
    names = sorted(name for commands in cli.COMMANDS.values() for name in commands)
    parser.add_argument("--viplake-command", choices=names, default="tick")
    parser.add_argument("--viplake-aws-region")
    for setting in config.SETTINGS:
        parser.add_argument(f"--viplake-{setting.name.replace('_', '-')}", dest=setting.name)
    # People write Glue's parameters with dashes or with underscores.
    known, others = parser.parse_known_args([_dashed(argument) for argument in arguments])
    given = vars(known)
    command, region = given.pop("viplake_command"), given.pop("viplake_aws_region")
    settings = {name: value for name, value in given.items() if value is not None}
    options = _options(others)
    if unknown := options.keys() - _options_of(command):
        first = min(unknown)
        taken = sorted({"command", "aws-region", *given, *_options_of(command)})
        listed = ", ".join(f"--viplake-{name.replace('_', '-')}" for name in taken)
        raise SettingsError(f"unknown job parameter --viplake-{first}", hint=f"Known are: {listed}.")
    return GlueJob(command, region, settings, options)


def _options(arguments: Sequence[str]) -> dict[str, str]:
    """Return the parameters that begin with `--viplake-`, without that beginning."""
    found = {}
    for number, argument in enumerate(arguments):
        if not argument.startswith("--viplake-"):
            continue
        name, equals, value = argument.removeprefix("--viplake-").partition("=")
        if not equals and (number + 1 == len(arguments) or arguments[number + 1].startswith("--")):
            raise SettingsError(f"job parameter --viplake-{name} has no value", hint="Give one; for a flag: true.")
        found[name] = value if equals else arguments[number + 1]
    return found


@dataclass(frozen=True, slots=True)
class _Option:
    """An option or argument of a command.

    Attributes:
        start: what precedes its value on the command line; empty for an argument without a name.
        several: whether it takes several values.
    """

    start: str
    several: bool


def _options_of(command: str) -> dict[str, _Option]:
    """Return the options and arguments of a command by name."""
    from viplake import cli  # noqa: PLC0415 - as above

    found = {}
    for argument in cli.load(command).assemble_argument_collection():
        if argument.names and argument.name != "*":
            start = f"{argument.name}=" if argument.name.startswith("--") else ""
            found[argument.name.removeprefix("--")] = _Option(start, str(argument.hint).startswith("tuple"))
    return found


def command_line(job: GlueJob) -> list[str]:
    """Return the command line of a job, without its settings: the command, its arguments, its options."""
    known = _options_of(job.command)
    tokens = []
    for name, value in job.options.items():
        option = known[name]
        tokens += [f"{option.start}{one}" for one in (value.split(",") if option.several else [value])]
    return [job.command, *tokens]


def _run_command(job: GlueJob) -> dict[str, Any]:
    """Run a job as a command line; its settings reach the command through the environment.

    Raises:
        ViplakeError: the command failed.
    """
    from viplake import cli  # noqa: PLC0415 - as above

    variables = {setting.name: setting.variable for setting in config.SETTINGS}
    config.set_environment({variables[name]: value for name, value in job.settings.items()})
    if job.region:
        config.set_environment({"AWS_REGION": job.region})
    code = cli.dispatch(command_line(job))
    if code not in {OK, WAITING} and not (code == CHECKS_FAILED and job.command in {"check", "content"}):
        raise ViplakeError(f"viplake {job.command} ended with exit code {code}")
    outcome = "waiting" if code == WAITING else "done"
    return {"schema_version": SCHEMA_VERSION, "command": job.command, "outcome": outcome, "exit_code": code}


@dataclass(frozen=True, slots=True)
class Profiled:
    """The result of the content checks of the last day.

    Attributes:
        environment: the lake's.
        first, last: the Hours that were profiled, both included.
        tables: number of tables in all these Hours.
        findings: number of findings on them.
    """

    environment: str
    first: Hour
    last: Hour
    tables: int
    findings: int
    exit_code: int = OK

    def to_json(self) -> dict[str, Any]:
        """Return the object that the job prints."""
        return {
            "schema_version": SCHEMA_VERSION,
            "environment": self.environment,
            "outcome": "looked_into",
            "from": str(self.first),
            "to": str(self.last),
            "tables": self.tables,
            "findings": self.findings,
        }


async def _profiled(settings: config.Settings) -> Profiled:
    """Profile the last day's Hours, up to the newest that is delivered, on the Spark of this job."""
    from viplake.lake.hours import newest_to_read  # noqa: PLC0415 - no other job profiles files

    lake = await lake_to_read(settings)
    last = await newest_to_read(lake)
    if last is None:
        raise NotYet("there is no Hour to profile", cause="waiting")
    first = last.shift(1 - PROFILED_HOURS)
    found = await content(settings, lake, list(first.to(last)), engine="spark")
    tables = sum(len(one.tables) for one in found)
    return Profiled(settings.environment.name, first, last, tables, sum(len(one.findings) for one in found))


def _dashed(argument: str) -> str:
    name, equals, value = argument.partition("=")
    return name.replace("_", "-") + equals + value if name.lower().startswith("--viplake") else argument


def _put_metric(outcome: Outcome, settings: config.Settings) -> None:
    """Store the metric, since CloudWatch reads none from Glue's log. A failure is logged and never fails the Hour."""
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415 - heavy, and only Glue needs it here

    try:
        cloudwatch = config.aws_client(settings, "cloudwatch")
        cloudwatch.put_metric_data(
            Namespace=NAMESPACE,
            MetricData=[
                {
                    "MetricName": METRIC,
                    "Dimensions": [{"Name": "Environment", "Value": outcome.environment}],
                    "Value": _delivered(outcome),
                    "Unit": "Count",
                }
            ],
        )
    except (BotoCoreError, ClientError, ViplakeError) as error:
        logger.warning("metric_not_stored", detail=redact(str(error)))


# -- both -----------------------------------------------------------------------------------------------------


def _settings(job: GlueJob | None = None, *, environ: Mapping[str, str] | None = None) -> config.Settings:
    flags, options = (job.settings, job.options) if job else ({}, {})
    file = options.get("config")
    settings = config.load(
        flags=flags, environ=environ, config_file=Path(file) if file else None, profile=options.get("profile")
    )
    log.configure(settings.log_level, settings.log_format, color=False)
    return settings


async def _advance(
    settings: config.Settings,
    verb: Verb,
    seconds: float | None,
    clock: Clock,
    notify: Callable[[Outcome], None],
    *,
    observes: bool = True,
) -> Outcome:
    """Tick or run for at most so many seconds; `notify` is called with each Hour that became final by it.

    Raises:
        NotYet: the time was over (`interrupted`). The lake holds what was done until then.
        ViplakeError: nothing could start.
    """
    if seconds is not None and seconds <= 0:
        raise NotYet("no time is left for a tick", cause="interrupted", hint="Give the function more time: 15 minutes.")
    limit = asyncio.timeout(seconds)
    try:
        async with limit, extraction(settings, clock=clock) as ready:
            try:
                outcome = await (ready.tick() if verb == "tick" else ready.run())
            finally:
                for ended in _ended_here(ready, clock):
                    notify(ended)
            if observes:
                await after_settling(settings, ready)
            return outcome
    except TimeoutError:
        if not limit.expired():
            raise
        raise NotYet("the time of this invocation is over", cause="interrupted") from None


def _ended_here(ready: Extraction, clock: Clock) -> list[Outcome]:
    """Return the Hours that this invocation made final."""
    ledger, settings = ready.ledger, ready.settings
    return [
        outcome_of(job, settings.environment, ready.lake.layout, clock.now())
        for _, job in sorted(ledger.jobs.items())
        if job.is_final and ledger.is_mine(job)
    ]


def _result(work: Callable[[], Coroutine[Any, Any, Outcome | Profiled]]) -> dict[str, Any]:
    """Return the outcome as JSON; a failure without an outcome has the same form."""
    try:
        outcome = asyncio.run(work())
    except ViplakeError as error:
        return _failure(error)
    except Exception as error:  # noqa: BLE001 - the process's boundary: AWS would print a traceback and retry
        return _failure(ViplakeError(describe(error)))
    return outcome.to_json() | {"exit_code": outcome.exit_code}


def _failure(error: ViplakeError) -> dict[str, Any]:
    waits = isinstance(error, NotYet)
    log_it = logger.info if waits else logger.error
    log_it("not_done" if waits else "failed", cause=error.cause.word, detail=error.message, hint=error.hint)
    return {
        "schema_version": SCHEMA_VERSION,
        "hour": None,
        "outcome": "waiting" if waits else "failed",
        "cause": error.cause.word,
        "owner": error.owner,
        "detail": redact(error.message),
        "hint": redact(error.hint),
        "exit_code": error.exit_code,
    }


def _delivered(outcome: Outcome) -> int:
    return int(outcome.outcome == "delivered")
