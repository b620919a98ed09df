"""What every test may ask for."""

from __future__ import annotations

import gc
import os
import re
import sys
from typing import TYPE_CHECKING, Any, Final

import pytest
from hypothesis import HealthCheck, Phase, settings

import proof as proofs
import registry
from canary import CANARIES, Canaries
from servers import ministack as ministacks
from servers.seaweed import Seaweed, serve

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator
    from pathlib import Path

# Examples are counted, not timed: a slow machine is no counterexample.
settings.register_profile("counted", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("soak", settings.get_profile("counted"), max_examples=2000)
# The same examples each time: what is said of a mutant is said of it again. Shrinking is off.
settings.register_profile(
    "mutants",
    settings.get_profile("counted"),
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "counted"))

SEARCH: Final = "test_zz_canaries"

_printed: list[tuple[str, str]] = []
_left_to_the_controller: list[str] = []
_counted: list[proofs.Figure] = []


def pytest_addoption(parser: pytest.Parser) -> None:
    """The counts of a session that is a proof are kept."""
    parser.addoption("--unit", action="store_true", help="only tests without sockets and processes; others fail")
    parser.addoption("--proof", metavar="NAME", help="write what the tests counted to docs/dev/proof/NAME.json")
    parser.addoption("--whole", action="store_true", help="the largest sizes, which take minutes")
    parser.addoption("--proof-command", metavar="COMMAND", help="the command that the page names for them")


def pytest_configure(config: pytest.Config) -> None:
    """Guard the unit tier: a test in it that opens a socket or starts a process fails."""
    if config.getoption("--unit"):
        sys.addaudithook(_refuse_the_outside)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Keep the thousands of modules and tests, which stay to the end, out of every garbage collection."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_unconfigure() -> None:
    """Give back what was kept: extension modules report at the end what nothing frees."""
    gc.unfreeze()


_ALL_OUTSIDE: Final = re.compile(r"^pytestmark = (\[.*)?pytest\.mark\.(system|long)\b", re.MULTILINE)


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave out files without a unit test: importing what they need took a tenth of the time."""
    if not config.getoption("--unit") or collection_path.suffix != ".py":
        return None
    return bool(_ALL_OUTSIDE.search(collection_path.read_text(encoding="utf-8"))) or None


_OUTSIDE: Final = frozenset(
    {"socket.connect", "socket.bind", "subprocess.Popen", "os.posix_spawn", "os.fork", "os.system"}
)
_guarded: list[str] = []


def _refuse_the_outside(event: str, _: object) -> None:
    if _guarded and event in _OUTSIDE:
        raise RuntimeError(f"{_guarded[-1]} is in the unit tier but raises {event}: mark it `system`")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Name the test that the guard speaks of."""
    _guarded.append(item.nodeid)
    try:
        return (yield)
    finally:
        _guarded.pop()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Keep what each test printed and logged, for the search at the end, and what it counted.

    Where there are workers, their controller hears it of all of them.
    """
    for _, text in report.sections:
        _printed.append((report.nodeid, text))
    if report.when == "call" and report.passed:
        _counted.extend(proofs.Figure(*value) for name, value in report.user_properties if name == "proof")  # type: ignore[misc] # ours


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Where every test passed, their counts are the proof's; those of a part of them would be no proof."""
    name = session.config.getoption("--proof")
    if name and exitstatus == pytest.ExitCode.OK and not hasattr(session.config, "workerinput"):
        command = session.config.getoption("--proof-command") or f"python -m pytest --proof {name}"
        proofs.write(name, command, _counted)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """What was counted, said once."""
    for one in proofs.added(_counted):
        terminalreporter.write_line(f"counted {one.what}: {one.figure:g}")


@pytest.fixture
def proof(record_property: Callable[[str, object], None]) -> Callable[..., None]:
    """Say what this test counted: `proof("crash points", 120, least=100)`. What has one name is added up.

    It travels as a property of the test's report, so that it also comes back from the workers of `pytest -n`.
    """

    def count(what: str, figure: float, *, least: float | None = None, most: float | None = None) -> None:
        record_property("proof", (what, figure, least, most))

    return count


@pytest.hookimpl(trylast=True)  # what -k and -m took out is gone by then
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """The search for secrets comes last, when everything is written: by all workers, where there are several.

    So a worker leaves it to the controller, which has heard and can read what all of them wrote.
    """
    if config.getoption("--unit"):
        outside = [item for item in items if item.get_closest_marker("system") or item.get_closest_marker("long")]
        config.hook.pytest_deselected(items=outside)
        items[:] = [item for item in items if item not in outside]
    if hasattr(config, "workeroutput"):
        config.workeroutput[SEARCH] = [item.nodeid for item in items if SEARCH in item.nodeid]
        items[:] = [item for item in items if SEARCH not in item.nodeid]
    else:
        items.sort(key=lambda item: SEARCH in item.nodeid)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a parameter of bytes by its argument and place: gzip writes the clock's second into what it makes.

    Workers that imported one module in two different seconds collected tests of different names, and none ran.
    """
    return argname if isinstance(val, bytes) else None


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Of a worker that ended: what it left."""
    _left_to_the_controller[:] = getattr(node, "workeroutput", {}).get(SEARCH, []) or _left_to_the_controller


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Generator[None, object, object]:
    """When all workers have ended, the controller runs what they left, as tests like any other."""
    done = yield
    if _left_to_the_controller:
        collected = session.testscollected
        items = session.perform_collect(_left_to_the_controller)
        session.testscollected += collected
        for item, following in zip(items, [*items[1:], None], strict=True):
            session.config.hook.pytest_runtest_protocol(item=item, nextitem=following)
    return done


@pytest.fixture
def printed() -> list[tuple[str, str]]:
    """What all tests so far printed and logged: (test, text)."""
    return _printed


@pytest.fixture(autouse=True)
def _no_secret_of_another_test() -> Iterator[None]:
    """A test's own secrets are forgotten after it: each that is remembered makes every line of the others dearer."""
    with registry.restored():
        yield


@pytest.fixture(scope="session")
def canaries() -> Canaries:
    """The secrets of the suite, to be found nowhere afterwards."""
    return CANARIES


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """A real S3 server, one for the whole session; `seaweed.bucket()` gives each test a place of its own."""
    with serve(tmp_path_factory.mktemp("seaweed")) as server:
        yield server


@pytest.fixture(scope="session")
def ministack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ministacks.Ministack]:
    """Secrets Manager, SNS, CloudFormation and more, one server for the whole session."""
    with ministacks.serve(tmp_path_factory.mktemp("ministack")) as server:
        yield server
