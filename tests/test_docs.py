"""The documents cannot lie: made pages are current, links lead somewhere, commands and settings in them exist."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from html.parser import HTMLParser
from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote

import pytest

from proof import Figure, read, write
from viplake.cli import app
from viplake.config import FURTHER_VARIABLES, SETTINGS
from viplake.errors import CAUSES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import ModuleType

ROOT: Final = Path(__file__).parents[1]
PAGES: Final = sorted(
    path for path in (*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "deploy").rglob("*.md"))
)
FENCE: Final = re.compile(r"^ *```(?P<language>\w*)\n(?P<text>.*?)^ *```$", re.MULTILINE | re.DOTALL)
LINK: Final = re.compile(r"!?\[[^\]]*\]\((?P<target>[^)\s]+)\)")


@pytest.fixture(scope="module")
def docs() -> ModuleType:
    spec = util.spec_from_file_location("docs", ROOT / "tools" / "docs.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


# -- pages that are made --------------------------------------------------------------------------------------


@pytest.mark.system
@pytest.mark.parametrize("name", ["causes.md", "settings.md", "cli.md", "dev/faults.md", "dev/proof.md"])
def test_a_page_made_from_the_code_is_current(docs: ModuleType, name: str) -> None:
    made: str = docs.PAGES[name]()
    assert (ROOT / "docs" / name).read_text() == made, "run: python tools/docs.py"


@pytest.mark.system
def test_a_page_that_is_not_current_is_found(docs: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Two pages that are quickly made; whether the check knows all of them is seen below, where it runs as a program.
    monkeypatch.setattr(docs, "PAGES", {name: docs.PAGES[name] for name in ("causes.md", "settings.md")})
    assert docs.main(["--check"], tmp_path) == 1
    assert docs.main([], tmp_path) == 0
    assert docs.main(["--check"], tmp_path) == 0


@pytest.mark.system
def test_no_cause_command_or_setting_is_missing(docs: ModuleType) -> None:
    causes, cli, settings = (docs.PAGES[name]() for name in ("causes.md", "cli.md", "settings.md"))
    assert set(re.findall(r"^### (\w+)$", causes, re.MULTILINE)) == set(CAUSES)
    assert set(re.findall(r"^## viplake (\w+)$", cli, re.MULTILINE)) == set(docs.commands())
    assert {setting.variable for setting in SETTINGS} <= set(re.findall(r"`(VIPLAKE_\w+)`", settings))


def test_every_mutant_that_survives_is_explained() -> None:
    table = re.findall(r"^\| .+ \| (\d+) \| .+ \|$", (ROOT / "docs" / "dev" / "mutants.md").read_text(), re.MULTILINE)
    [survived] = [one.figure for one in read()["mutants"] if one.what == "of them survived"]
    assert sum(map(int, table)) == survived


@pytest.mark.system
def test_every_fault_has_a_test_or_a_reason(docs: ModuleType, proof: Callable[..., None]) -> None:
    tests = docs.held_by()
    entries = {fault: entry for part in docs.catalogue().values() for fault, entry in part.items()}
    assert [fault for fault, entry in entries.items() if (fault in tests) == (len(entry) == 3)] == []
    assert sorted(tests.keys() - entries.keys()) == [], "a test carries an id that the catalogue lacks"
    proof("faults and invariants of the catalogue", len(entries), least=203)
    proof("of them with tests that carry their id", len(entries.keys() & tests.keys()), least=len(entries))
    proof("of them that do not apply", sum(len(entry) == 3 for entry in entries.values()))
    assert len(entries) > 200


def test_the_catalogue_names_causes_that_exist(docs: ModuleType) -> None:
    text = str(docs.catalogue())
    named = set(re.findall(r"\[(\w+)\]", text))
    assert named <= set(CAUSES)
    assert len(named) > 30


def test_a_test_is_known_by_its_name_and_by_its_cases(docs: ModuleType, tmp_path: Path) -> None:
    (tmp_path / "test_some.py").write_text(
        "@pytest.mark.parametrize('x', [pytest.param(1, id='D1 D2 cut'), pytest.param('W3', id='no D4')])\n"
        "@pytest.mark.parametrize('y', ['X1', 2], ids=['K1 one', 'two'])\n"
        "def test_S6_G7_holds_for_s3(x): ...\n"
        "def helper_W9(): ...\n"
    )
    found = docs.held_by(tmp_path)
    assert set(found) == {"S6", "G7", "D1", "D2", "K1"}
    assert found["D2"] == ["test_some.py::test_S6_G7_holds_for_s3"]


def test_every_exit_code_of_a_cause_is_explained_for_schedulers() -> None:
    text = (ROOT / "docs" / "schedulers.md").read_text()
    explained = {
        int(n) for row in re.findall(r"^\| ([*\d, ]+) \|", text, re.MULTILINE) for n in re.findall(r"\d+", row)
    }
    assert {cause.exit_code for cause in CAUSES.values()} | {0} == explained


# -- what was proven ------------------------------------------------------------------------------------------


def test_no_figure_of_the_proof_misses_its_aim() -> None:
    figures = {f"{name}: {one.what}": one for name, figures in read().items() for one in figures}
    assert [what for what, one in figures.items() if not one.reached] == []


def test_the_page_of_proof_shows_every_figure_and_its_command(docs: ModuleType, tmp_path: Path) -> None:
    write(
        "soak", "make soak", [Figure("Hours", 999), Figure("Hours", 1, least=1000), Figure("leaks", 0, 0, 0)], tmp_path
    )
    write("others", "make others", [Figure("files", 3.5, most=4)], tmp_path)
    page = docs.proof_page(tmp_path)
    assert "| Hours | 1,000 | at least 1,000 |\n| leaks | 0 | 0 |" in page
    assert "`make others`" in page
    assert page.index("## Soak") < page.index("## others")
    assert [one.reached for one in (Figure("x", 3, least=4), Figure("x", 3, most=2), Figure("x", 3, 3, 3))] == [
        False,
        False,
        True,
    ]


# -- links ----------------------------------------------------------------------------------------------------


def slugs(text: str) -> set[str]:
    """The anchors of a page's headings, as GitHub makes them."""
    found: dict[str, int] = {}
    for heading in re.findall(r"^#+ +(.+?) *#*$", FENCE.sub("", text), re.MULTILINE):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).replace("`", "")
        slug = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        found[slug] = found.get(slug, -1) + 1
    return {f"{slug}-{n}" if n else slug for slug, last in found.items() for n in range(last + 1)}


def broken_links(page: Path, text: str) -> Iterator[str]:
    for match in LINK.finditer(FENCE.sub("", text)):
        target, _, anchor = match["target"].partition("#")
        if re.match(r"[a-z]+:", target):
            continue
        there = (page.parent / target).resolve() if target else page
        if not there.exists() or (anchor and anchor not in slugs(there.read_text())):
            yield match["target"]


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_link_leads_somewhere(page: Path) -> None:
    assert list(broken_links(page, page.read_text())) == []


def test_a_broken_link_is_found(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A heading, `code`\n\n## Twice\n\n## Twice\n")
    text = "[a](#a-heading-code) [b](#twice-1) [c](#nowhere) [d](gone.md) [e](page.md#twice) [f](https://example.com/x)"
    assert list(broken_links(page, text)) == ["#nowhere", "gone.md"]


class Addresses(HTMLParser):
    """The addresses in a page of HTML that lead to this site, and the anchors that it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: set[str] = set()
        self.anchors: set[str] = {""}
        self.feed(text)

    def handle_starttag(self, _tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            if name == "id" and value:
                self.anchors.add(value)
            elif name in {"href", "src"} and value and not re.match(r"[a-z]+:|//", value):
                self.links.add(unquote(value))


def broken_addresses(site: Path) -> list[str]:
    """The links of a built site that lead to no file, or to no anchor of the page."""
    pages = {
        page: Addresses(page.read_text(encoding="utf-8")) for page in site.rglob("*.html") if page.name != "404.html"
    }
    broken = []
    for page, addresses in pages.items():
        for link in sorted(addresses.links):
            path, _, anchor = link.partition("#")
            there = (page.parent / path).resolve() if path else page
            there = there / "index.html" if there.is_dir() else there
            if not there.is_file() or (there in pages and anchor not in pages[there].anchors):
                broken.append(f"{page.relative_to(site)}: {link}")
    return broken


@pytest.mark.system
def test_site_builds_without_a_warning_and_every_link_and_anchor_in_it_exists(tmp_path: Path) -> None:
    """mkdocs in strict mode: links, anchors and the navigation of every page; then the links of the HTML itself."""
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert broken_addresses(tmp_path / "site") == []
    built = {
        page.relative_to(tmp_path / "site").with_suffix(".md").as_posix()
        for page in (tmp_path / "site").rglob("*.html")
    }
    assert {page.relative_to(ROOT / "docs").as_posix() for page in (ROOT / "docs").rglob("*.md")} <= built
    assert {"readme.md", "changelog.md", "contributing.md", "security.md"} <= built


def test_broken_link_of_a_site_is_found(tmp_path: Path) -> None:
    (tmp_path / "a.html").write_text(
        '<h1 id="top"><a href="#top"></a><a href="b.html#x"></a><a href="c.html"></a></h1>'
    )
    (tmp_path / "b.html").write_text('<a href="a.html#top"></a><img src="https://example.com/x.png">')
    assert broken_addresses(tmp_path) == ["a.html: b.html#x", "a.html: c.html"]


# -- commands and settings --------------------------------------------------------------------------------------


def command_lines(text: str) -> Iterator[list[str]]:
    """What is typed after `viplake` in the shell blocks of a page."""
    for block in FENCE.finditer(text):
        if block["language"] == "sh":
            for line in block["text"].replace("\\\n", " ").splitlines():
                typed = line.partition(" #")[0].strip()
                if found := re.match(r"(?:docker run .* viplake |)viplake (?P<rest>.+)", typed):
                    yield shlex.split(found["rest"])


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_command_line_in_a_shell_block_is_understood(page: Path) -> None:
    for arguments in command_lines(page.read_text()):
        if any(mark in " ".join(arguments) for mark in ("|", ">", "$", ";")) or arguments[0].startswith("-"):
            continue
        command, _, _ = app.parse_args(arguments, exit_on_error=False, print_error=False)
        assert command.__module__.endswith(("." + arguments[0], ".cli"))


def test_the_guides_show_commands_at_all() -> None:
    shown = {a[0] for page in ("operations.md", "schedulers.md", "deploy-cron.md") for a in command_lines(_read(page))}
    assert {"collect", "consolidate", "doctor", "prune", "run", "status", "tick", "verify"} <= shown


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_every_setting_that_a_page_names_exists(page: Path) -> None:
    named = set(re.findall(r"\bVIPLAKE_[A-Z_]*[A-Z]\b", page.read_text()))
    assert named <= {setting.variable for setting in SETTINGS} | FURTHER_VARIABLES


def test_every_parameter_of_the_template_that_the_guides_name_exists() -> None:
    template = (ROOT / "deploy" / "viplake.yaml").read_text()
    pages = [path.name for path in (ROOT / "docs").glob("deploy*.md")]
    text = "".join(map(_read, ["operations.md", *pages]))
    typed = " ".join(re.findall(r"--parameter-overrides (.*)", text))
    named = set(re.findall(r"\b(\w+)=", typed)) | set(re.findall(r"`([A-Z][a-z]+[A-Z]\w+)(?:=\w+)?`", text))
    assert {"VipEnvironment", "Company", "ArtifactBucket", "RetentionDays", "ReserveConcurrency"} <= named
    parameters = set(re.findall(r"^  (\w+):$", template.partition("Mappings:")[0], re.MULTILINE))
    others = {"VipLake", "AmazonECSTaskExecutionRolePolicy"}  # the metric's namespace; a policy of AWS's own
    assert named - parameters == others


def test_every_make_target_that_a_page_names_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = {name for page in PAGES for name in re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(), re.MULTILINE)}
    assert named <= targets


@pytest.mark.system
def test_the_check_runs_as_a_program() -> None:
    done = subprocess.run([sys.executable, ROOT / "tools" / "docs.py", "--check"], capture_output=True, check=False)
    assert done.returncode == 0, done.stderr


def _read(page: str) -> str:
    return (ROOT / "docs" / page).read_text()


def test_the_address_of_the_project_is_decided_in_one_place() -> None:
    known = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
    text = "".join(page.read_text() for page in (*PAGES, *(ROOT / "src").rglob("*.py")))
    named = set(re.findall(r"https?://[^\s)\"'`>]*viplake[^\s)\"'`>]*", text, re.IGNORECASE))
    assert {
        url for url in named if not url.startswith(("http://127.0.0.1", "https://example.com/", *known.values()))
    } == set()
