"""The Glue job as Glue runs it: spark-submit with --py-files, in a Python that has no viplake."""

from __future__ import annotations

import gzip
import importlib.util
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pytest
from packaging.utils import canonicalize_name

from canary import CANARIES
from viplake.simulator import ExportShape, SimulatorSettings, running
from viplake.simulator.tables import make_export

if TYPE_CHECKING:
    from collections.abc import Iterable

pytestmark = [
    pytest.mark.system,
    pytest.mark.sources,
    pytest.mark.long,
    pytest.mark.timeout(900),  # starts two JVMs, which a busy machine runs slowly
    pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java, which is not on this machine"),
]

ROOT: Final = Path(__file__).parents[1]
SITE: Final = Path(sysconfig.get_path("purelib"))
BRIEF: Final = "-XX:TieredStopAtLevel=1"
OF_GLUE: Final = [
    *("--JOB_NAME", "vip-prod", "--JOB_ID", "j_0123", "--JOB_RUN_ID", "jr_4567", "--SECURITY_CONFIGURATION", ""),
    *("--encryption-type", "sse-s3", "--TempDir", "s3://temporary/", "--job-bookmark-option", "job-bookmark-disable"),
    *("--enable-glue-datacatalog", "true", "--enable-metrics", "true"),
]
"""Parameters that Glue adds to those of the job."""


def link(names: Iterable[str], folder: Path) -> None:
    """Link the installed packages of these names into a folder, so that it holds them and no others."""
    wanted = set(names)
    for distribution in distributions(path=[str(SITE)]):
        if canonicalize_name(distribution.name) in wanted:
            for top in {
                file.parts[0] for file in distribution.files or [] if file.parts[0] not in {"..", "__pycache__"}
            }:
                if not (folder / top).exists():
                    (folder / top).symlink_to(SITE / top)


@dataclass(frozen=True)
class Glue:
    """What a job of Glue finds: its artifacts, its working directory, its Python.

    Attributes:
        artifacts: the folder on S3, without the packed libraries.
        site: packages of the job's Python.
    """

    artifacts: Path
    site: Path
    python: Path
    cwd: Path

    def run(self, master: str, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        """Run the job's script; Glue copies it, and the files that it references, into the working directory."""
        for name in ("glue_job.py", "viplake.toml"):
            shutil.copyfile(self.artifacts / name, self.cwd / name)
        [package] = self.artifacts.glob("viplake-*.zip")
        pyspark = self.site / "pyspark"
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.cwd),
            "SPARK_HOME": str(pyspark),
            "SPARK_LOCAL_IP": "127.0.0.1",
            "PYSPARK_PYTHON": str(self.python),
        }
        options = [
            *("--master", master, "--py-files", str(package), "--conf", "spark.ui.enabled=false"),
            *("--conf", f"spark.driver.extraJavaOptions={BRIEF}", "--conf", f"spark.executor.extraJavaOptions={BRIEF}"),
            *("--conf", "spark.driver.host=127.0.0.1", "--conf", "spark.driver.bindAddress=127.0.0.1"),
        ]
        command = [str(pyspark / "bin" / "spark-submit"), *options, "glue_job.py", *OF_GLUE, *arguments]
        return subprocess.run(command, cwd=self.cwd, env=environ, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def artifacts() -> Any:
    """The module that builds the artifacts."""
    spec = importlib.util.spec_from_file_location("artifacts", ROOT / "tools" / "artifacts.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def glue(artifacts: Any, tmp_path: Path) -> Glue:
    """Glue with nothing but Spark in its Python."""
    folder = tmp_path / "artifacts"
    folder.mkdir()
    artifacts.build_package(folder)
    artifacts.add_glue_files(folder)
    venv.create(tmp_path / "python", symlinks=True)
    [site] = (tmp_path / "python" / "lib").glob("python*/site-packages")
    link({"pyspark", "py4j"}, site)
    (tmp_path / "job").mkdir()
    made = Glue(folder, site, tmp_path / "python" / "bin" / "python", tmp_path / "job")
    tried = subprocess.run(
        [made.python, "-I", "-c", "import viplake"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert "ModuleNotFoundError" in tried.stderr
    return made


def printed(done: subprocess.CompletedProcess[str]) -> list[Any]:
    """Return the results among the lines that the job wrote; spark-submit puts its log between them."""
    assert done.returncode == 0, done.stdout[-3000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"schema_version"')]


def names_in(requirements: Path) -> set[str]:
    lines = requirements.read_text().splitlines()
    return {canonicalize_name(line.partition("==")[0]) for line in lines if "==" in line}


def kept(lake: Path, hour: str = "20220510/13") -> Any:
    """Return the record of the content of an Hour, without what engines estimate, each in its own way."""
    record = json.loads(gzip.decompress((lake / f"IMOSDL/_viplake/content/{hour}.json.gz").read_bytes()))
    for table in record["tables"]:
        for column in table["columns"]:
            column["distinct"] = 0
    return record


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    """One Hour in a folder."""
    root = tmp_path / "lake"
    folder = root / "IMOSDL" / "Hourly" / "20220510" / "13"
    folder.mkdir(parents=True)
    for file in make_export(ExportShape(files=10, rows=0.2), "Prod", datetime(2022, 5, 10, 13, tzinfo=UTC)):
        (folder / file.name).write_bytes(b"".join(file.read()))
    return root


def test_content_job_reads_on_executors_that_have_viplake_from_the_zip_alone(glue: Glue, lake: Path) -> None:
    link(names_in(glue.artifacts / "requirements-content.txt"), glue.site)
    where = {"VIPLAKE_ENVIRONMENT": "Prod", "VIPLAKE_LAKE": lake.as_uri()}
    command = [sys.executable, "-m", "viplake", "content", "--at", "2022-05-10T13"]
    assert subprocess.run(command, env=os.environ | where, capture_output=True, check=False).returncode in {0, 1}
    by_duckdb = kept(lake)
    shutil.rmtree(lake / "IMOSDL/_viplake/content")
    parameters = [word for name, value in where.items() for word in (f"--{name.lower()}", value)]
    done = glue.run("local-cluster[1,1,1024]", [*parameters, "--viplake-command", "content"])
    [result] = printed(done)
    assert (result["outcome"], result["exit_code"], result["to"]) == ("looked_into", 0, "2022-05-10T13")
    assert result["tables"] == len(by_duckdb["tables"]) > 3
    assert kept(lake) == by_duckdb


def test_tick_job_runs_from_packed_libraries_and_fails_with_the_cause(
    glue: Glue, artifacts: Any, tmp_path: Path
) -> None:
    packages = tmp_path / "packages"
    packages.mkdir()
    link(artifacts.needed(SITE, artifacts._own_requirements()), packages)
    shutil.copytree(packages, tmp_path / "copies")  # a walk for the zip does not follow links
    packed = f"viplake-packages-py{sys.version_info.major}.{sys.version_info.minor}.zip"
    artifacts.write_zip(tmp_path / "copies", glue.cwd / packed)
    secret = tmp_path / "secret.json"
    secret.write_text(
        json.dumps({"Veson_client_id": CANARIES.client_id, "Veson_client_secret": CANARIES.client_secret})
    )
    secret.chmod(0o600)
    settings = SimulatorSettings(
        company="ACME",
        client_id=CANARIES.client_id,
        client_secret=CANARIES.client_secret,
        replication_seconds=3600,
        export=ExportShape(files=4),
    )
    with running(settings) as vendor:
        given = {
            "environment": "Prod",
            "lake": f"file://{tmp_path}/lake",
            "company": "ACME",
            "secrets": f"file:{secret}",
            "token_url": vendor.token_url,
            "export_url": vendor.export_url,
            "files_url": vendor.files_url,
            "allow_insecure_http": "true",
        }
        parameters = [word for name, value in given.items() for word in (f"--viplake_{name}", value)]
        done = glue.run("local[1]", parameters)
        assert [result["outcome"] for result in printed(done)] == ["waiting"]
        assert list((tmp_path / "lake/IMOSDL/_viplake/ledger").rglob("0002.json"))
        failed = glue.run("local[1]", [*parameters, "--viplake-command", "status", "--viplake-lasst", "3"])
    assert failed.returncode == 1
    assert "SettingsError: unknown job parameter --viplake-lasst" in failed.stdout
    assert "SystemExit" not in failed.stdout
    assert CANARIES.client_secret not in done.stdout + done.stderr + failed.stdout + failed.stderr
