"""The words of README, docs, help, errors and remedies: those that people search for are there, riddles are not."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pytest

from viplake.cli import COMMANDS
from viplake.errors import CAUSES

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT: Final = Path(__file__).parents[1]
SOURCES: Final = ROOT / "src" / "viplake"

BANNED: Final = re.compile(
    r"\b(told|nobody|whose|whoever|mend|mends|mended|lies (?:in|beside|below)|stands (?:in|for))\b",
    re.IGNORECASE,
)
"""Words of a private dialect, which send a reader looking for what is meant."""

RIDDLES: Final = re.compile(
    r"\b(told|nobody|whoever|mend(s|ed|ing)?|errands?|lies? (in|beside|below|there)"
    r"|whose(?=[;:.,]| it\b| turn\b| lake\b))",
    re.IGNORECASE,
)
"""The same for docstrings, comments and texts of the code. A relative `whose` before a noun is plain there."""

NAMES: Final = re.compile(
    r"_(told|tells?|telling|nobody|whose|whoever|whom|whatever|mend(s|ed)?|stands?|lies?|asked|says?|said|kept_apart)(_|$)"
)
"""Words that a test's name has no use for: it says condition and result."""

IDENTIFIERS: Final = re.compile(
    r"(^|_)(told|tells?|telling|nobody|whose|whoever|errand|asked|patience|blame)(_|$)|Told|Errand|Blame|Copies$"
)
"""Names of the private dialect in src; `patience` is exempt below where it is plain."""

PLAIN_NAMES: Final = {"patience", "_PATIENCE", "_PATIENCE_SECONDS", "EMPTY_LIST_PATIENCE"}
"""For how long something is retried. The JSON member `tellings` is a contract."""

CONTRACTS: Final = {"told", "asked"}
"""Texts of one word that are exempt: `told` is a member of the JSON of `viplake check`."""

PAGES: Final = sorted(
    path
    for path in (
        ROOT / "README.md",
        ROOT / "CHANGELOG.md",
        ROOT / "CONTRIBUTING.md",
        ROOT / "SECURITY.md",
        *(ROOT / "docs").rglob("*.md"),
    )
)


def prose(text: str) -> Iterator[tuple[int, str]]:
    """The lines of a page without its code: blocks, and what is in backticks."""
    code = False
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            code = not code
        elif not code:
            yield number, re.sub(r"`[^`]*`", "", line)


def messages(source: str) -> Iterator[tuple[int, str]]:
    """The texts that a module can show, such as errors, logs, hints and help: all literals but docstrings."""
    tree = ast.parse(source)
    explained = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in explained:
            yield node.lineno, node.value


def explanations(source: str) -> Iterator[tuple[int, str]]:
    """The docstrings, comments and other texts of a module, each with its line."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value not in CONTRACTS:
            yield from enumerate(re.sub(r"`[^`\n]*`", "", node.value).split("\n"), node.lineno)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def docstrings(source: str) -> Iterator[tuple[int, str]]:
    """The docstrings and comments of a module: in tests other texts may be quotations of anything."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            yield getattr(node, "lineno", 1), ast.get_docstring(node) or ""
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def help_texts(source: str) -> Iterator[tuple[int, str]]:
    """The docstring of a command, which is its help."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.FunctionDef) and node.name == "command":
            yield node.lineno, ast.get_docstring(node) or ""


def test_a_page_has_no_word_of_a_private_dialect() -> None:
    found = [
        f"{page.relative_to(ROOT)}:{number}: {line}"
        for page in PAGES
        for number, line in prose(page.read_text(encoding="utf-8"))
        if BANNED.search(line)
    ]
    assert found == []


@pytest.mark.system
@pytest.mark.sources
def test_a_message_has_no_word_of_a_private_dialect() -> None:
    found = []
    for module in sorted(SOURCES.rglob("*.py")):
        source = module.read_text(encoding="utf-8")
        shown = [*messages(source), *help_texts(source)]
        wrong = [(number, text) for number, text in shown if BANNED.search(text) and text not in CONTRACTS]
        found += [f"{module.relative_to(SOURCES)}:{number}: {text}" for number, text in wrong]
    assert found == []


@pytest.mark.system
@pytest.mark.sources
def test_docstrings_comments_and_texts_have_no_riddle() -> None:
    found = []
    for module in sorted(SOURCES.rglob("*.py")):
        texts = explanations(module.read_text(encoding="utf-8"))
        found += [f"{module.relative_to(SOURCES)}:{n}: {text.strip()}" for n, text in texts if RIDDLES.search(text)]
    assert found == []


@pytest.mark.system
def test_texts_of_the_measurements_and_tools_have_no_riddle() -> None:
    """They write pages of docs/."""
    found = []
    for module in sorted((*(ROOT / "bench").glob("*.py"), *(ROOT / "tools").glob("*.py"))):
        texts = explanations(module.read_text(encoding="utf-8"))
        found += [f"{module.name}:{number}: {text.strip()}" for number, text in texts if RIDDLES.search(text)]
    assert found == []


@pytest.mark.system
def test_docstrings_and_comments_of_the_tests_have_no_riddle() -> None:
    found = []
    for module in sorted((ROOT / "tests").rglob("*.py")):
        if module != Path(__file__):
            for number, text in docstrings(module.read_text(encoding="utf-8")):
                if RIDDLES.search(text):
                    found.append(f"{module.name}:{number}: {text.strip()}")
    assert found == []


@pytest.mark.system
def test_a_name_of_a_test_has_no_word_of_a_private_dialect() -> None:
    found = []
    for module in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and re.match("test_.*", node.name):
                found += [f"{module.name}:{node.lineno}: {node.name}"] * bool(NAMES.search(node.name))
    assert found == []


@pytest.mark.system
@pytest.mark.sources
def test_no_function_class_or_variable_has_a_name_of_the_private_dialect() -> None:
    found = set()
    for module in sorted(SOURCES.rglob("*.py")):
        for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
            name = (
                getattr(node, "name", None)
                if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)
                else node.arg
                if isinstance(node, ast.arg)
                else node.id
                if isinstance(node, ast.Name)
                else None
            )
            if name and name not in PLAIN_NAMES and IDENTIFIERS.search(name):
                found.add(f"{module.name}: {name}")
        if NAMES.search(f"_{module.stem}") or IDENTIFIERS.search(module.stem):
            found.add(str(module))
    assert found == set()


def test_a_riddle_is_found_in_docstrings_comments_texts_and_names() -> None:
    source = '"""Nobody runs."""\nX = "is told"  # whose it is\nY = "told"\nZ = "files whose bytes are equal"\n'
    assert sorted(number for number, text in explanations(source) if RIDDLES.search(text)) == [1, 2, 2]
    assert sorted(number for number, text in docstrings(source) if RIDDLES.search(text)) == [1, 2]
    assert NAMES.search("test_what_is_lost_is_told")
    assert not NAMES.search("test_a_lost_file_is_reported_by_its_standstill")


def test_causes_and_commands_have_no_word_of_a_private_dialect() -> None:
    texts = [text for cause in CAUSES.values() for text in (cause.meaning, cause.remedy)]
    texts += [line for commands in COMMANDS.values() for line in commands.values()]
    assert [text for text in texts if BANNED.search(text)] == []


def test_help_uses_the_words_that_people_search_for() -> None:
    shown = " ".join(line for commands in COMMANDS.values() for line in commands.values()).lower()
    for word in ("notification", "anomal", "slo", "data-quality", "manifest", "incident", "schema", "sql"):
        assert word in shown, word


def test_the_vendor_is_a_company_and_no_person() -> None:
    for page in PAGES:
        for number, line in prose(page.read_text(encoding="utf-8")):
            assert not re.search(r"\b(he|him|his)\b", line), f"{page.name}:{number}: {line}"


@pytest.mark.system
@pytest.mark.sources
def test_pages_messages_and_help_are_really_read() -> None:
    """The tests above pass on nothing: so here are texts that they must have seen."""
    assert {"README.md", "docs/operations.md", "docs/adr/index.md", "docs/bench/lake.md", "docs/dev/proof.md"} <= {
        page.relative_to(ROOT).as_posix() for page in PAGES
    }
    assert sum(1 for page in PAGES for _ in prose(page.read_text(encoding="utf-8"))) > 1000
    modules = {path.relative_to(SOURCES).as_posix(): path.read_text(encoding="utf-8") for path in SOURCES.rglob("*.py")}
    shown = {name: " ".join(text for _, text in messages(source)) for name, source in modules.items()}
    for name, text in {
        "errors.py": "belongs to another environment or company",
        "commands/delivery.py": "failed: ",
        "extract/extraction.py": "it needs no Veson: cp -p",
        "judge/rules/catalogue.py": "a number of percentage points",
    }.items():
        assert text in shown[name], name
    commands = [name for name in modules if name.startswith("commands/") and any(help_texts(modules[name]))]
    assert len(commands) > len(COMMANDS)
    assert set(app_names()) <= {name.removeprefix("commands/").removesuffix(".py") for name in commands}


def app_names() -> list[str]:
    """The names of all commands."""
    return [name for commands in COMMANDS.values() for name in commands]


def test_a_banned_word_is_found_and_code_is_left_out() -> None:
    assert BANNED.search("Nobody ran within the Hour")
    assert not BANNED.search("It is understood, retold and sandstands")
    page = "told\n```\ntold\n```\n`told` is code\n"
    assert [number for number, line in prose(page) if BANNED.search(line)] == [1]
    assert "h" in [text for _, text in messages('raise E("told", hint="h")')]
