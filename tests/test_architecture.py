"""What import-linter cannot see: PURE modules are pure, and the house's rules of size and naming hold.

Each rule is a function from a module's syntax tree to what it finds wrong, and is shown something wrong first.
"""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

SOURCES: Final = Path(__file__).parents[1] / "src"

pytestmark = pytest.mark.sources

# Whatever a PURE module could reach the world, the time or chance with.
IMPURE_MODULES: Final = frozenset(
    [
        "aiohttp",
        "asyncio",
        "boto3",
        "botocore",
        "duckdb",
        "ftplib",
        "glob",
        "http.client",
        "http.server",
        "httpx",
        "logging",
        "obstore",
        "os",
        "platform",
        "random",
        "secrets",
        "shutil",
        "signal",
        "smtplib",
        "socket",
        "ssl",
        "subprocess",
        "tempfile",
        "threading",
        "time",
        "urllib.request",
        "uuid",
        "uvloop",
    ]
)
IMPURE_BUILTINS: Final = frozenset({"open", "print", "input", "breakpoint", "exec", "eval", "__import__"})
IMPURE_METHODS: Final = frozenset(
    [
        "now",
        "utcnow",
        "today",
        "open",
        "read_text",
        "read_bytes",
        "write_text",
        "write_bytes",
        "mkdir",
        "unlink",
        "rmdir",
        "touch",
        "iterdir",
        "exists",
        "is_file",
        "is_dir",
        "stat",
        "getenv",
    ]
)
BANNED_NAMES: Final = frozenset(
    [
        "util",
        "utils",
        "helper",
        "helpers",
        "common",
        "manager",
        "managers",
        "handler",
        "handlers",
        "service",
        "services",
        "processor",
        "processors",
        "engine",
        "engines",
        "base",
    ]
)
LONGEST_FUNCTION: Final = 60
MOST_MODULES: Final = 12

# Hundreds of milliseconds or tens of megabytes each: imported inside the commands that need them.
HEAVY: Final = frozenset(
    {"apprise", "boto3", "botocore", "deltalake", "duckdb", "jinja2", "plotly", "pyspark", "sqlglot"}
)


class Module(NamedTuple):
    """A module of ours, as syntax."""

    name: str
    tree: ast.Module

    @property
    def mark(self) -> str | None:
        """`PURE` or `I/O`, whichever its docstring's first line says first."""
        first_line = (ast.get_docstring(self.tree) or "").partition("\n")[0]
        found = re.search(r"\bPURE\b|\bI/O\b", first_line)
        return found[0] if found else None


def _module(source: str, name: str = "viplake.example") -> Module:
    return Module(name, ast.parse(source))


def _modules() -> dict[str, Module]:
    found = {}
    for path in sorted(SOURCES.rglob("*.py")):
        dotted = ".".join(path.relative_to(SOURCES).with_suffix("").parts).removesuffix(".__init__")
        found[dotted] = _module(path.read_text(), dotted)
    return found


def _is_package(name: str) -> bool:
    return (SOURCES / name.replace(".", "/") / "__init__.py").exists()


MODULES: Final = _modules()
PURE: Final = frozenset(name for name, module in MODULES.items() if module.mark == "PURE")


def _broken(rule: Callable[[Module], list[str]], names: Iterable[str] = MODULES) -> dict[str, list[str]]:
    """What the rule finds wrong, by module; one test a rule, since one a module took longer to collect than to run."""
    return {name: wrong for name in names if (wrong := rule(MODULES[name]))}


def _at_run_time(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes below, without the bodies of `if TYPE_CHECKING:`."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        yield child
        yield from _at_run_time(child)


def _at_import(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes that run when the module is imported: nothing inside a function."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            continue
        yield child
        yield from _at_import(child)


def _imported(nodes: Iterator[ast.AST]) -> Iterator[str]:
    """Every module that may be meant: `from a import b` may mean a or a.b."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or "."
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _within(name: str, modules: frozenset[str]) -> bool:
    return any(name == module or name.startswith(f"{module}.") for module in modules)


def impurities(module: Module) -> list[str]:
    """What a PURE module does that is not pure."""
    wrong = []
    for name in _imported(_at_run_time(module.tree)):
        if _within(name, IMPURE_MODULES) or name == "pathlib.Path":
            wrong.append(f"imports {name}")
        elif name in MODULES and name not in PURE and not _is_package(name):
            wrong.append(f"imports {name}, which is not PURE")
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name) and node.func.id in IMPURE_BUILTINS:
            wrong.append(f"calls {node.func.id}() in line {node.lineno}")
        elif isinstance(node.func, ast.Attribute) and node.func.attr in IMPURE_METHODS:
            wrong.append(f"calls {ast.unparse(node.func)}() in line {node.lineno}")
    return wrong


def _functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def too_long(module: Module) -> list[str]:
    """Functions whose body, without its docstring, has more than `LONGEST_FUNCTION` lines."""
    wrong = []
    for function in _functions(module):
        first = 1 if ast.get_docstring(function) is not None and len(function.body) > 1 else 0
        lines = (function.end_lineno or 0) - function.body[first].lineno + 1
        if lines > LONGEST_FUNCTION:
            wrong.append(f"{function.name} has {lines} lines")
    return wrong


def badly_named(module: Module) -> list[str]:
    """The module or its classes with a banned word in the name; its functions when that word is all of it."""

    def banned(name: str) -> bool:
        words = re.findall(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])", name)
        return not BANNED_NAMES.isdisjoint(word.lower() for word in words)

    names = [module.name.rpartition(".")[2]]
    names += [node.name for node in ast.walk(module.tree) if isinstance(node, ast.ClassDef)]
    wrong = [name for name in names if banned(name)]
    return wrong + [f.name for f in _functions(module) if f.name.strip("_").lower() in BANNED_NAMES]


def public_types(module: Module) -> list[str]:
    """The public classes and type aliases that a module defines."""
    found = []
    for node in module.tree.body:
        if isinstance(node, ast.ClassDef):
            found.append(node.name)
        elif isinstance(node, ast.Assign) and isinstance(target := node.targets[0], ast.Name):
            found += [target.id] if target.id[0].isupper() and not target.id.isupper() else []
    return [name for name in found if not name.startswith("_")]


def twins(modules: Mapping[str, Module]) -> dict[str, list[str]]:
    """The public types that more than one module defines, each with these modules."""
    homes: dict[str, list[str]] = {}
    for name, module in modules.items():
        for defined in public_types(module):
            homes.setdefault(defined, []).append(name)
    return {defined: names for defined, names in homes.items() if len(names) > 1}


def crowded(modules: Iterable[str]) -> dict[str, int]:
    """The folders with more than twelve modules, but for the commands, which have a file each."""
    own = (name for name in modules if not _is_package(name) and name != "viplake.__main__")  # how Python starts us
    sizes = Counter(name.rpartition(".")[0] for name in own)
    return {folder: size for folder, size in sizes.items() if size > MOST_MODULES and folder != "viplake.commands"}


def hidden_names(module: Module) -> list[str]:
    """Our own modules and names that an import hides behind another name."""
    return [
        f"{alias.name} as {alias.asname}"
        for node in ast.walk(module.tree)
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("viplake")
        for alias in node.names
        if alias.asname not in {None, alias.name}
    ]


def heavy_at_import(module: Module) -> list[str]:
    """The heavy packages that importing the module would import."""
    return sorted({name for name in _imported(_at_import(module.tree)) if _within(name, HEAVY)})


def test_the_rules_have_something_to_look_at() -> None:
    assert {"viplake.errors", "viplake.model", "viplake.lake.layout"} <= PURE
    assert MODULES["viplake.clock"].mark == "I/O"


def test_every_module_states_whether_it_is_pure() -> None:
    silent = [name for name, module in MODULES.items() if not _is_package(name) and module.mark is None]
    assert silent == [], "begin the module's docstring with PURE. or I/O."


def test_a_module_marked_pure_is_pure() -> None:
    assert _broken(impurities, sorted(PURE)) == {}


def test_no_function_is_longer_than_a_page() -> None:
    assert _broken(too_long) == {}


def test_no_module_has_a_meaningless_name() -> None:
    assert _broken(badly_named) == {}


def test_heavy_packages_are_imported_only_where_they_are_used() -> None:
    assert _broken(heavy_at_import) == {}


def test_a_public_type_is_defined_in_one_module() -> None:
    assert twins(MODULES) == {}


def test_no_folder_has_more_than_twelve_modules() -> None:
    assert crowded(MODULES) == {}


def test_no_import_hides_a_name_of_ours() -> None:
    assert _broken(hidden_names) == {}


@pytest.mark.system
def test_importing_everything_loads_no_heavy_package() -> None:
    # Others import too: a library of ours may pull in what we avoid. A fresh process, all modules in turn.
    program = (
        "import importlib, sys\n"
        "for name in sys.argv[2:]:\n"
        "    importlib.import_module(name)\n"
        "    if heavy := set(sys.argv[1].split()) & sys.modules.keys():\n"
        "        sys.exit(f'{name} loads {sorted(heavy)}')\n"
    )
    command = [sys.executable, "-c", program, " ".join(sorted(HEAVY)), *MODULES]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=SOURCES)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "source",
    [
        "import os",
        "import time as t",
        "from datetime import datetime\ndef f(): return datetime.now()",
        "import datetime\nx = datetime.datetime.utcnow()",
        "from pathlib import Path",
        "from urllib import request",
        "import urllib.request",
        "def f(p): return p.read_text()",
        "def f(): print(1)",
        "def f():\n    with open('x'): pass",
        "def f():\n    import random",
        "from viplake.clock import SystemClock",
        "from viplake import clock",
    ],
)
def test_an_impure_module_is_found(source: str) -> None:
    assert impurities(_module(source))


@pytest.mark.parametrize(
    "source",
    [
        "from datetime import UTC, datetime\ndef f(now: datetime): return now.astimezone(UTC)",
        "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    from pathlib import Path",
        "from urllib.parse import quote",
        "from viplake.errors import CAUSES",
        "from viplake import errors",
    ],
)
def test_a_pure_module_passes(source: str) -> None:
    assert impurities(_module(source)) == []


def test_a_long_function_is_found_and_its_docstring_is_not_counted() -> None:
    body = "    x = 1\n" * LONGEST_FUNCTION
    docstring = '    """Long.\n' + "\n" * 20 + '    """\n'
    assert too_long(_module(f"def f():\n{docstring}{body}")) == []
    assert too_long(_module(f"async def f():\n{docstring}{body}    y = 2\n")) == ["f has 61 lines"]


@pytest.mark.parametrize(
    ("name", "source"),
    [
        ("viplake.utils", ""),
        ("viplake.file_helpers", ""),
        ("viplake.x", "class JobManager: ..."),
        ("viplake.x", "class BaseStore: ..."),
        ("viplake.x", "class HTTPHandler: ..."),
        ("viplake.x", "def _handler(): ..."),
    ],
)
def test_an_empty_name_is_found(name: str, source: str) -> None:
    assert badly_named(_module(source, name))


@pytest.mark.parametrize(("name", "source"), [("viplake.database", ""), ("viplake.x", "class Baseline: ...")])
def test_a_name_that_only_contains_a_banned_one_passes(name: str, source: str) -> None:
    assert badly_named(_module(source, name)) == []


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("import boto3", ["boto3"]),
        ("try:\n    from plotly.io import x\nexcept ImportError: ...", ["plotly.io", "plotly.io.x"]),
        ("def f():\n    import boto3", []),
        ("if TYPE_CHECKING:\n    import boto3", []),
    ],
)
def test_a_heavy_import_is_found(source: str, expected: list[str]) -> None:
    assert heavy_at_import(_module(source)) == expected


def test_twins_crowded_folders_and_hidden_names_are_found() -> None:
    both = {name: _module("class Kind: ...\nWord = str\n_Own = int\nLIMIT = 3", name) for name in ("a", "b")}
    assert twins(both) == {"Kind": ["a", "b"], "Word": ["a", "b"]}
    assert crowded(f"viplake.x.m{number}" for number in range(13)) == {"viplake.x": 13}
    assert crowded(f"viplake.x.m{number}" for number in range(12)) == {}
    assert hidden_names(_module("from viplake.lake import layout as records\nfrom json import loads as l")) == [
        "layout as records"
    ]
