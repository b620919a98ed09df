"""Every shell block of the README and of the pages works as it is printed, or is listed here with the reason why not.

A block runs in the folder and with the variables that its page describes, where `viplake` is found as the page says.
Programs that ask others (AWS, a cluster, a package index) are left out of it, by name, and what can be checked of
their lines without them is checked.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tomllib
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import botocore.session
import pytest
import yaml
from botocore import xform_name

from canary import CANARIES
from commands import environ_for, simulated
from viplake.lake import Lake
from viplake.lake.layout import Layout
from viplake.lake.store import StoreSettings, open_store
from viplake.model import TEST, Hour
from viplake.simulator.history import Past, generate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from viplake.simulator import Simulator

pytestmark = [pytest.mark.system, pytest.mark.sources]

ROOT: Final = Path(__file__).parents[1]
FENCE: Final = re.compile(r"^(?P<indent> *)```(?P<language>sh|bash)\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
PAGES: Final = sorted(
    path for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md"))
)

ELSEWHERE: Final = {
    ("README.md", "sh"): "test_every_command_in_it_works",
    ("CONTRIBUTING.md", "sh"): "test_every_make_target_is_one_of_the_makefile",
    ("docs/history.md", "sh"): "test_the_how_to_leads_from_an_old_lake_to_a_report",
}
"""Page and language of blocks -> the other test that runs them."""

NOT_RUN: Final = {
    "aws": "asks AWS",
    "docker": "needs a Docker daemon and an image of a registry",
    "journalctl": "shows the log of this machine",
    "kubectl": "needs a cluster",
    "make": "fetches packages; the target is compared with the Makefile",
    'pip install "viplake[report,pandas]"': "fetches packages",
    "pip install 'viplake[tables]'": "fetches packages",
    "pipx": "fetches packages",
    "systemctl": "changes this machine",
    "useradd": "changes this machine",
    "uvx": "fetches packages",
    "viplake demo": "takes minutes; tests/test_demo.py runs it",
    "viplake load postgresql://me@host/warehouse": "needs a server; tests/current/test_load.py loads into one",
}
"""Program -> why the lines that call it are left out."""

NOT_RUN_BLOCKS: Final = {
    "export HTTPS_PROXY=http://proxy.example:3128": "needs a company's proxy; tests/network tries proxies",
}
"""Start of a block -> why none of it is run here."""


@dataclass(frozen=True)
class Block:
    """A shell block of a page."""

    page: str
    number: int
    language: str
    text: str

    @property
    def name(self) -> str:
        return f"{self.page}-{self.number}"

    @property
    def commands(self) -> list[str]:
        """Its commands, one a line: without comments, here-documents and the ends of long lines."""
        text = re.sub(r"<<'END'.*?^END$", "", self.text, flags=re.MULTILINE | re.DOTALL).replace("\\\n", " ")
        lines = (line.partition(" #")[0].strip() for line in text.splitlines())
        return [line for line in lines if line and not line.startswith("#")]

    def of(self, program: str) -> list[str]:
        """The commands that call a program."""
        return [line for line in self.commands if line.startswith(f"{program} ")]

    @property
    def why_not(self) -> str | None:
        """Why it is not run; None where at least one of its commands can."""
        for start, reason in NOT_RUN_BLOCKS.items():
            if self.text.startswith(start):
                return reason
        found = [
            next((why for one, why in NOT_RUN.items() if f"{line} ".startswith(f"{one} ")), None)
            for line in self.commands
        ]
        return None if None in found else "; ".join(dict.fromkeys(filter(None, found)))


def blocks_of(page: Path, text: str) -> list[Block]:
    name = page.relative_to(ROOT).as_posix()
    return [
        Block(name, number, match["language"], re.sub(rf"^{match['indent']}", "", match["text"], flags=re.MULTILINE))
        for number, match in enumerate(FENCE.finditer(text), start=1)
    ]


BLOCKS: Final = [block for page in PAGES for block in blocks_of(page, page.read_text(encoding="utf-8"))]
HERE: Final = [block for block in BLOCKS if (block.page, block.language) not in ELSEWHERE]
RUN: Final = [block for block in HERE if block.why_not is None]
RUN_PAGES: Final = list(dict.fromkeys(block.page for block in RUN))
OF_SOME_PAGES: Final = [
    block if RUN_PAGES.index(block.page) % 2 == 0 else pytest.param(block, marks=pytest.mark.long) for block in RUN
]
"""Whole pages, the others in the long suite: a block works on what those above it on its page left."""


# -- the places in which a reader works -------------------------------------------------------------------------

FIRST, LAST = Hour.parse("2022-05-08T00"), Hour.parse("2022-05-10T14")
PRELUDE: Final = """
viplake() {
    code=0
    command viplake "$@" || code=$?
    case "$1 $code" in *" 0" | "check 1" | "slo 1" | "tick 75") return 0 ;; esac
    echo "viplake $*: exit code $code" >&2
    exit 99
}
"""
"""A check ends with 1 while an incident is open, slo out of SLA, a tick with 75 while its Hour is in progress."""


@dataclass
class HistoryLocation:
    """A folder that a reader works in, with what its page assumes to be there.

    Attributes:
        folder: the working folder.
        environ: the variables.
        replaced: placeholders of the page -> what a reader has in their place.
        vendor: the simulated vendor.
        state: what the blocks before this one exported.
    """

    folder: Path
    environ: dict[str, str]
    replaced: dict[str, str]
    vendor: Simulator
    state: Path = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.state = (
            self.folder.parent / f"{self.folder.name}.secrets"
        )  # the client secret is among what a block exports
        self.state.touch()

    def viplake(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            ["viplake", *arguments], cwd=self.folder, env=self.environ, capture_output=True, text=True, check=False
        )

    def run(self, block: Block) -> subprocess.CompletedProcess[str]:
        text = block.text.replace("\\\n", " ")
        kept = []
        for line in text.splitlines():
            left_out = any(f"{line.strip()} ".startswith(f"{program} ") for program in NOT_RUN)
            kept.append(f": {shlex.quote(line)}" if left_out else line)
        script = "\n".join(kept)
        for placeholder, real in self.replaced.items():
            script = script.replace(placeholder, real)
        script = f"set -e\n{PRELUDE}\n. {self.state}\n{script}\nexport -p > {self.state}\n"
        return subprocess.run(
            ["bash", "-c", script],
            cwd=self.folder,
            env=self.environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=280,
            stdin=subprocess.DEVNULL,
        )


@pytest.fixture(scope="module")
def bin_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds `viplake`: most pages take it for installed."""
    folder = tmp_path_factory.mktemp("bin")
    program = folder / "viplake"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m viplake "$@"\n')
    program.chmod(0o755)
    return folder


def _here() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}


def a_lake_with_a_past(folder: Path, vendor: Simulator, bin_folder: Path, **more: str) -> HistoryLocation:
    """A lake of Test with the Hours that the guides name, its history, and the current Hour still to come."""
    lake = folder / "lake"
    lake.mkdir(parents=True)
    url = lake.as_uri()
    generated = generate(
        Lake(open_store(StoreSettings(url, durable=False)), Layout.below(TEST.prefix)),
        FIRST.to(LAST),
        Past(tables=12, scale=0.02),
        environment=TEST,
        company="ACME",
    )
    asyncio.run(generated)
    given = environ_for(vendor, url, VIPLAKE_ENVIRONMENT="Test", VIPLAKE_LOG_LEVEL="WARNING", **more)
    place = HistoryLocation(
        folder / "work",
        _here() | given | {"PATH": f"{bin_folder}:{os.environ['PATH']}"},
        {
            "VIPLAKE_CLIENT_ID=...": f"VIPLAKE_CLIENT_ID={CANARIES.client_id}",
            "VIPLAKE_CLIENT_SECRET=...": f"VIPLAKE_CLIENT_SECRET={CANARIES.client_secret}",
            "s3://bucket/reports/": f"{folder}/",
            "s3://the-other-bucket": (folder / "other").as_uri(),
            "s3://your-bucket": url,
        },
        vendor,
    )
    assert place.viplake("observe").returncode == 0
    return place


def a_checkout(folder: Path, vendor: Simulator) -> HistoryLocation:
    """A checkout on a server, with a root of its own in place of /; pip finds every package without an index."""
    checkout, root = folder / "checkout", folder / "root"
    for name in ("src", "deploy", "pyproject.toml", "README.md", "LICENSE", "requirements.lock", "locks"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        checkout.mkdir(parents=True, exist_ok=True)
        copy(ROOT / name, checkout / name)
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel"]
    subprocess.run(build, cwd=checkout, check=True, capture_output=True)
    inside = [
        *("usr/local/bin", "etc/systemd/system", "etc/cron.d", "etc/logrotate.d", "var/log", "var/lib/viplake"),
        *("opt", "home"),
    ]
    for name in inside:
        (root / name).mkdir(parents=True)
    (checkout / ".venv" / "bin").mkdir(parents=True)
    (checkout / ".venv" / "bin" / "activate").write_text(f'export PATH="{checkout}/.venv/bin:$PATH"\n')
    (checkout / ".venv" / "bin" / "viplake").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m viplake "$@"\n')
    (checkout / ".venv" / "bin" / "viplake").chmod(0o755)
    (folder / "vendor.env").write_text(
        "\n".join(
            f"{name}={value}"
            for name, value in environ_for(vendor, "-").items()
            if name in {"VIPLAKE_TOKEN_URL", "VIPLAKE_EXPORT_URL", "VIPLAKE_FILES_URL", "VIPLAKE_ALLOW_INSECURE_HTTP"}
        )
    )
    offline = {"PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_NO_BUILD_ISOLATION": "0"}
    offline |= {"PIP_DISABLE_PIP_VERSION_CHECK": "1", "PYTHONPATH": sysconfig.get_path("purelib")}
    me = subprocess.run(["id", "-un"], capture_output=True, text=True, check=True).stdout.strip()
    return HistoryLocation(
        checkout,
        {"PATH": f"{root}/usr/local/bin:{os.defpath}:/usr/bin:/bin", "HOME": str(root / "home"), **offline},
        {
            "-o viplake -g viplake": f"-o {me}",
            "chown viplake": f"chown {me}",
            "VIPLAKE_LAKE=s3://your-bucket": f"VIPLAKE_LAKE=file://{root}/var/lib/viplake\n. {folder}/vendor.env",
            "your-client-id": CANARIES.client_id,
            "your-client-secret": CANARIES.client_secret,
            "/opt/viplake": f"{root}/opt/viplake",
            "/usr/local/bin": f"{root}/usr/local/bin",
            "/etc/": f"{root}/etc/",
            "/var/log/": f"{root}/var/log/",
        },
        vendor,
    )


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory, bin_folder: Path) -> Iterator[Callable[[str], HistoryLocation]]:
    """The place of a page, made when its first block needs it: its blocks build on each other."""
    known: dict[str, HistoryLocation] = {}
    with contextlib.ExitStack() as vendors:

        def place(page: str) -> HistoryLocation:
            if page not in known:
                vendor = vendors.enter_context(simulated())
                folder = tmp_path_factory.mktemp("reader")
                if page in {"docs/install.md", "docs/deploy-cron.md"}:
                    known[page] = a_checkout(folder, vendor)
                else:
                    known[page] = a_lake_with_a_past(folder, vendor, bin_folder)
            return known[page]

        yield place


# -- what must be there before a block --------------------------------------------------------------------------


def _lost_receipt(place: HistoryLocation) -> None:
    """An Hour that lost its Receipt; its ledger and its files bear the times at which they came."""
    lake = place.folder.parent / "lake"
    [receipt] = lake.rglob("Hourly/20220510/13/_Receipt.json")
    events = sorted(lake.rglob("ledger/20220510/13/*.json"))
    begun = events[0].stat().st_mtime - 3600
    for number, event in enumerate(events):
        os.utime(event, (begun + 60 * number,) * 2)
    for file in receipt.parent.iterdir():
        os.utime(file, (begun + 60 * len(events) - 61,) * 2)
    receipt.unlink()


def _lost_response(place: HistoryLocation) -> None:
    """An export that Veson made, for an Hour of which viplake knows nothing."""
    if not place.vendor.jobs:
        assert place.viplake("run", "--only-deliver").returncode == 0
    [guid] = place.vendor.jobs
    place.replaced |= {
        "7f0c1a5e-0000-0000-0000-000000000000": guid,
        "collect 2022-05-10T13 --job": "collect 2022-05-11T13 --job",
    }


def _installed(place: HistoryLocation) -> None:
    """What the page that this one refers to has installed."""
    program = place.folder.parent / "root" / "opt" / "viplake" / "bin" / "viplake"
    program.parent.mkdir(parents=True, exist_ok=True)
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m viplake "$@"\n')
    program.chmod(0o755)


def _other_lake(place: HistoryLocation) -> None:
    """An Hour that was delivered to another place."""
    lake, other = place.folder.parent / "lake", place.folder.parent / "other"
    shutil.copytree(lake, other)
    for folder in lake.rglob("Hourly/20220509/17"):
        shutil.rmtree(folder)


BEFORE: Final[dict[str, Callable[[HistoryLocation], None]]] = {
    "viplake collect 2022-05-10T13       # writes the receipt again": _lost_receipt,
    "viplake collect 2022-05-10T13 --job-guid": _lost_response,
    "viplake consolidate s3://the-other-bucket --dry-run": _other_lake,
    "mkdir -p /etc/viplake": _installed,
}
"""Start of a block -> what makes its situation."""


# -- the blocks -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("block", OF_SOME_PAGES, ids=lambda block: block.name)
def test_a_printed_block_runs_as_documented(block: Block, places: Callable[[str], HistoryLocation]) -> None:
    place = places(block.page)
    for start, prepare in BEFORE.items():
        if block.text.startswith(start):
            prepare(place)
    done = place.run(block)
    assert done.returncode == 0, (block.text, done.stdout, done.stderr)
    assert "Traceback" not in done.stderr, done.stderr


def test_every_block_is_run_or_has_a_reason() -> None:
    undecided = [block.name for block in HERE if block.why_not is None and block not in RUN]
    assert undecided == []
    assert len(RUN) > 20
    tests = "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    for (page, language), test in ELSEWHERE.items():
        assert any((block.page, block.language) == (page, language) for block in BLOCKS), page
        assert f"def {test}(" in tests


def test_no_reason_is_left_over() -> None:
    lines = [line for block in BLOCKS for line in block.commands]
    assert [one for one in NOT_RUN if not any(f"{line} ".startswith(f"{one} ") for line in lines)] == []
    starts = (*NOT_RUN_BLOCKS, *BEFORE)
    assert [start for start in starts if not any(block.text.startswith(start) for block in BLOCKS)] == []


def test_a_block_that_no_rule_knows_is_run() -> None:
    text = "```sh\naws s3 ls\n```\n\n```sh\nnew-program --x   # why\naws s3 ls\n```\n"
    left_out, new = blocks_of(ROOT / "README.md", text)
    assert (left_out.why_not, new.why_not) == ("asks AWS", None)
    assert new.commands == ["new-program --x", "aws s3 ls"]


# -- what is not run is compared with what it names -------------------------------------------------------------


def _lines(program: str) -> list[str]:
    return [line for block in BLOCKS for line in block.of(program)]


WITHOUT_A_MODEL: Final = {"s3 cp", "cloudformation deploy", "logs tail"}
"""Commands of the AWS CLI that are no operation of a service."""


@pytest.mark.parametrize("line", sorted({*_lines("aws")}))
def test_an_aws_command_is_one_that_the_service_knows(line: str) -> None:
    known = botocore.session.get_session()
    words = shlex.split(line.replace("$(", " ").replace(")", " "))
    service, operation, *rest = words[1:]
    if f"{service} {operation}" in WITHOUT_A_MODEL:
        return
    model = known.get_service_model(service)
    operations = {xform_name(name, "-"): name for name in model.operation_names}
    assert operation in operations, line
    nested = rest.index("aws") if "aws" in rest else len(rest)
    shape = model.operation_model(operations[operation]).input_shape
    members = {xform_name(name, "-") for name in shape.members} | {"cli-input-json", "query", "output"}
    given = {word[2:] for word in rest[:nested] if word.startswith("--")}
    inner = {"stack-name", "query", "output", "logical-resource-id"} if "aws" in rest else set()
    assert given - inner <= members, line


def test_every_make_target_is_one_of_the_makefile() -> None:
    for line in _lines("make"):
        done = subprocess.run(["make", "-n", *line.split()[1:]], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, (line, done.stderr)


def test_files_that_printed_commands_name_are_in_the_checkout() -> None:
    lines = [line for block in HERE for line in block.commands]
    named = {name for line in lines for name in re.findall(r"(?:file://|\s)(deploy/[\w./-]+)", line)}
    assert named >= {"deploy/viplake.yaml", "deploy/Dockerfile", "deploy/systemd/viplake.timer"}
    assert [name for name in sorted(named) if not (ROOT / name).exists()] == []


def test_extras_that_printed_commands_name_exist() -> None:
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"])
    named = {
        extra
        for page in PAGES
        for some in re.findall(r"(?:viplake|\.|\.whl)\[([a-z,]+)\]", page.read_text())
        for extra in some.split(",")
    }
    assert "report" in named
    assert named <= extras


def test_kubectl_names_what_the_manifest_makes_and_uses() -> None:
    job: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "kubernetes-cronjob.yaml").read_text())
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    secrets = {one["valueFrom"]["secretKeyRef"]["name"] for one in pod["containers"][0]["env"] if "valueFrom" in one}
    text = "\n".join(_lines("kubectl"))
    assert re.findall(r"create serviceaccount (\S+)", text) == [pod["serviceAccountName"]]
    assert set(re.findall(r"create secret generic (\S+)", text)) == secrets
    assert re.findall(r"--from=cronjob/(\S+)", text) == [job["metadata"]["name"]]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="no systemd on this machine")
def test_systemd_accepts_the_units(tmp_path: Path) -> None:
    for unit in ("viplake.service", "viplake.timer"):
        text = (ROOT / "deploy" / "systemd" / unit).read_text()
        (tmp_path / unit).write_text(text.replace("/opt/viplake/bin/viplake", "/bin/true"))
    units = [str(tmp_path / "viplake.service"), str(tmp_path / "viplake.timer")]
    done = subprocess.run(["systemd-analyze", "verify", *units], capture_output=True, text=True, check=False)
    assert (done.returncode, [line for line in done.stderr.splitlines() if str(tmp_path) in line]) == (0, [])


def test_what_cron_runs_works_with_the_settings_of_the_page(places: Callable[[str], HistoryLocation]) -> None:
    """The line of deploy/cron/viplake, after the blocks of the page: one tick of the Hour, its log appended."""
    place = places("docs/deploy-cron.md")
    root = place.folder.parent / "root"
    for block in RUN:
        if block.page == "docs/deploy-cron.md" and not (root / "etc" / "cron.d" / "viplake").exists():
            test_a_printed_block_runs_as_documented(block, places)
    [line] = [row for row in (ROOT / "deploy/cron/viplake").read_text().splitlines() if row.startswith("*")]
    command = re.sub(r"^(\S+ ){5}viplake ", "", line)
    for name in ("/opt/viplake", "/etc/", "/var/log/"):
        command = command.replace(name, f"{root}{name}")
    done = subprocess.run(["/bin/sh", "-c", command], env={"PATH": os.defpath}, cwd="/", check=False)
    assert done.returncode in {0, 75}
    log = (root / "var/log/viplake/viplake.log").read_text().splitlines()
    assert {json.loads(entry)["event"] for entry in log} >= {"claimed", "triggered"}
