"""What the cloud is given: built from names and contents alone, complete, and without what it need not carry."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import sysconfig
import zipfile
from importlib import util
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from packaging.utils import canonicalize_name

from canary import CANARIES
from viplake.simulator import ExportShape, SimulatorSettings, running

if TYPE_CHECKING:
    from types import ModuleType

pytestmark = pytest.mark.system

ROOT: Final = Path(__file__).parents[1]
SITE: Final = Path(sysconfig.get_path("purelib"))


@pytest.fixture(scope="module")
def artifacts() -> ModuleType:
    spec = util.spec_from_file_location("artifacts", ROOT / "tools" / "artifacts.py")
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def wanted(artifacts: ModuleType) -> set[str]:
    """What the zip would hold, reckoned from this environment's packages."""
    found: set[str] = artifacts.needed(SITE, artifacts._own_requirements())
    return found


def test_the_zip_has_exactly_what_the_package_needs(wanted: set[str]) -> None:
    assert {"aiohttp", "boto3", "botocore", "duckdb", "obstore", "yarl"} <= wanted
    assert wanted.isdisjoint({"uvloop", "plotly", "hatchling", "pytest", "ruff", "ministack", "cfn-lint"})


LIKE_LAMBDA: Final = """
import json, sys
sys.path[:0] = sys.argv[1:]
from viplake.aws import lambda_handler
class Context:
    def get_remaining_time_in_millis(self): return 900_000
print(json.dumps(lambda_handler({}, Context())))
"""


@pytest.mark.sources
def test_the_function_runs_with_these_packages_alone(wanted: set[str], artifacts: ModuleType, tmp_path: Path) -> None:
    site = tmp_path / "site"
    site.mkdir()
    for distribution in distributions(path=[str(SITE)]):
        if canonicalize_name(distribution.name) in wanted:
            for top in {file.parts[0] for file in distribution.files or [] if file.parts[0] != ".."}:
                if not (site / top).exists():
                    (site / top).symlink_to(SITE / top)
    with zipfile.ZipFile(artifacts.build_wheel(tmp_path)) as wheel:
        kept = artifacts.extract_for_lambda(wheel, tmp_path / "function")
    assert not [name for name in kept if "simulat" in name or "demo" in name or "local_s3" in name]
    told = _run_like_lambda(tmp_path / "function", site, tmp_path)
    assert (told["outcome"], told["cause"]) == ("waiting", "waiting"), told


def _run_like_lambda(function: Path, site: Path, tmp_path: Path) -> dict[str, Any]:
    shape = ExportShape(files=2)
    settings = SimulatorSettings(
        company="ACME", client_id=CANARIES.client_id, client_secret=CANARIES.client_secret, export=shape
    )
    with running(settings) as vendor:
        environ = {
            "PATH": os.defpath,
            "VIPLAKE_ENVIRONMENT": "Prod",
            "VIPLAKE_COMPANY": "ACME",
            "VIPLAKE_LAKE": f"file://{tmp_path}/lake",
            "VIPLAKE_CLIENT_ID": CANARIES.client_id,
            "VIPLAKE_CLIENT_SECRET": CANARIES.client_secret,
            "VIPLAKE_TOKEN_URL": vendor.token_url,
            "VIPLAKE_EXPORT_URL": vendor.export_url,
            "VIPLAKE_FILES_URL": vendor.files_url,
            "VIPLAKE_ALLOW_INSECURE_HTTP": "true",
        }
        command = [sys.executable, "-I", "-S", "-c", LIKE_LAMBDA, str(function), str(site)]
        (tmp_path / "lake").mkdir()
        done = subprocess.run(command, env=environ, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    result: dict[str, Any] = json.loads(done.stdout)
    return result


def test_the_same_files_make_the_same_zip(artifacts: ModuleType, tmp_path: Path) -> None:
    names = [
        "b/x.py",
        "a.py",
        "b/a.so",
        "__pycache__/a.pyc",
        "bin/tool",
        "p-1.dist-info/RECORD",
        "p-1.dist-info/METADATA",
    ]
    digests = []
    for number, order in enumerate((names, names[::-1])):
        folder = tmp_path / str(number)
        for name in order:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(name)
            os.utime(folder / name, (number * 1e9, number * 1e9))
        size = artifacts.write_zip(folder, tmp_path / f"{number}.zip")
        digests.append(hashlib.sha256((tmp_path / f"{number}.zip").read_bytes()).hexdigest())
    assert digests[0] == digests[1]
    kept = ["a.py", "b/a.so", "b/x.py", "p-1.dist-info/METADATA"]
    assert zipfile.ZipFile(tmp_path / "0.zip").namelist() == kept
    assert size == sum(map(len, kept))


@pytest.mark.sources
def test_two_builds_of_the_wheel_are_the_same_bytes(artifacts: ModuleType, tmp_path: Path) -> None:
    first, second = (artifacts.build_wheel(tmp_path / name) for name in "ab")
    assert first.name == second.name
    assert first.read_bytes() == second.read_bytes()
    assert {info.date_time[0] for info in zipfile.ZipFile(first).infolist()} == {2020}


@pytest.mark.sources
def test_the_template_names_what_make_glue_builds(artifacts: ModuleType, tmp_path: Path) -> None:
    artifacts.build_package(tmp_path)
    artifacts.add_glue_files(tmp_path)
    template = (ROOT / "deploy" / "viplake.yaml").read_text()
    for path in tmp_path.iterdir():
        if path.name != "requirements.txt":  # of other jobs
            name = path.name.replace("-0.1.0.", "-${ViplakeVersion}.")
            assert f"/${{GlueKeyPrefix}}/{name}" in template, name
    assert "/viplake-packages-py${Python}.zip" in template
    for version in artifacts.GLUE_PYTHONS:
        assert f'Version: "{version}"' in template


@pytest.mark.sources
def test_each_kind_of_glue_job_installs_only_what_it_needs(artifacts: ModuleType, tmp_path: Path) -> None:
    artifacts.add_glue_files(tmp_path)
    names = {
        file: {line.partition("==")[0] for line in (tmp_path / file).read_text().splitlines() if "==" in line}
        for file in artifacts.GLUE_MODULES
    }
    content, everything = names["requirements-content.txt"], names["requirements.txt"]
    assert {"sqlglot", "duckdb", "obstore", "boto3"} <= content < everything
    assert content.isdisjoint({"plotly", "apprise", "uvloop", "holidays", "deltalake"})
    assert {"plotly", "jinja2", "apprise", "holidays", "deltalake"} <= everything
    assert everything.isdisjoint({"hatchling", "editables", "uvloop"})
    for file in artifacts.GLUE_MODULES:
        blocks = (tmp_path / file).read_text().count("--hash=")
        assert blocks >= len(names[file])


@pytest.mark.sources
def test_a_wheel_is_built_without_the_development_environment() -> None:
    done = subprocess.run(["make", "-n", "wheel"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "tools/venv locks/image.lock locks/build.lock" in done.stdout
    assert "requirements-dev.lock" not in done.stdout
    lock = (ROOT / "locks" / "build.lock").read_text()
    assert all(f"\n{name}==" in f"\n{lock}" for name in ("hatchling", "packaging"))
