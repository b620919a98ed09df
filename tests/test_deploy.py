"""The examples in deploy/ can be read, name commands and settings that exist, and hold no secret and no registry."""

from __future__ import annotations

import configparser
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import botocore.session
import pytest
import yaml
from botocore.validate import ParamValidator

from viplake.cli import app
from viplake.config import FURTHER_VARIABLES, SETTINGS

DEPLOY: Final = Path(__file__).parents[1] / "deploy"
FILES: Final = sorted(path for path in DEPLOY.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
KNOWN: Final = {setting.variable for setting in SETTINGS} | FURTHER_VARIABLES


def _ids(path: Path) -> str:
    return str(path.relative_to(DEPLOY))


def _unit(name: str) -> configparser.ConfigParser:
    unit = configparser.ConfigParser(interpolation=None, strict=True)
    unit.optionxform = str  # type: ignore[assignment,method-assign]  # the documented way to keep the case
    unit.read_string((DEPLOY / "systemd" / name).read_text())
    return unit


def _arguments(text: str) -> list[str]:
    """What follows the program: its command and its options."""
    return text.partition("viplake/bin/viplake ")[2].partition(" >")[0].split()


def check_command(arguments: list[str]) -> None:
    command, bound, _ = app.parse_args(arguments, exit_on_error=False, print_error=False)
    assert command.__module__.endswith(("." + arguments[0], ".cli"))
    assert bound is not None


@pytest.mark.sources
def test_the_container_runs_a_command_that_exists_and_not_as_root() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().replace("\\\n", " ").splitlines()
    instructions = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    words = [word for word, _ in instructions]
    assert set(words) <= {"ARG", "FROM", "WORKDIR", "COPY", "RUN", "ENV", "USER", "VOLUME", "ENTRYPOINT", "CMD"}
    given = dict(instructions)
    assert json.loads(given["ENTRYPOINT"]) == ["viplake"]
    check_command(json.loads(given["CMD"]))
    assert given["VOLUME"] == given["WORKDIR"] == "/tmp", "Fargate gives a volume the owner and mode of the image's"
    assert re.fullmatch(r"[1-9]\d+:[1-9]\d+", given["USER"])
    assert words.index("USER") > max(n for n, word in enumerate(words) if word == "RUN")
    root = DEPLOY.parent
    for source in (
        s for word, rest in instructions if word == "COPY" and "--from" not in rest for s in rest.split()[:-1]
    ):
        assert (root / source).exists(), source
        assert f"!{source.removeprefix('./')}" in (root / ".dockerignore").read_text().splitlines()
    assert "--require-hashes" in given["RUN"] or any("--require-hashes" in rest for _, rest in instructions)


def test_the_cronjob_runs_a_command_that_exists_without_rights_it_does_not_need() -> None:
    job: dict[str, Any] = yaml.safe_load((DEPLOY / "kubernetes-cronjob.yaml").read_text())
    assert (job["kind"], job["spec"]["timeZone"]) == ("CronJob", "Etc/UTC")
    assert job["spec"]["jobTemplate"]["spec"]["backoffLimit"] == 0
    pod = job["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    [container] = pod["containers"]
    check_command(container["args"])
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    [volume] = pod["volumes"]
    assert container["volumeMounts"] == [{"name": volume["name"], "mountPath": "/tmp"}], "datasets are packed there"
    for variable in container["env"]:
        secret = variable["name"] in {"VIPLAKE_CLIENT_ID", "VIPLAKE_CLIENT_SECRET"}
        assert ("valueFrom" in variable) is secret


def accepted(version: str, *manifests: Path) -> list[str]:
    """Return the names of the manifests that agree with the schemas of a version of Kubernetes.

    The schemas come with the program. It ends with 0 where it has none for an `apiVersion`, so only `passed` counts.
    """
    program = shutil.which("kubernetes-validate", path=str(Path(sys.executable).parent))
    assert program is not None, "make dev installs it"
    call = [program, "--strict", "--kubernetes-version", version, *map(str, manifests)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode in {0, 1}, done.stderr
    return [path.name for path in manifests if f"{path} passed for resource" in done.stdout + done.stderr]


@pytest.mark.system
@pytest.mark.parametrize("version", ["1.25", "1.37"])
def test_kubernetes_accepts_the_cronjob_by_its_schema(version: str) -> None:
    assert accepted(version, DEPLOY / "kubernetes-cronjob.yaml") == ["kubernetes-cronjob.yaml"]


@pytest.mark.system
def test_a_manifest_that_kubernetes_would_reject_is_found(tmp_path: Path) -> None:
    text = (DEPLOY / "kubernetes-cronjob.yaml").read_text()
    wrong = {
        "concurrencyPolicy: Allow": "concurencyPolicy: Allow",
        "backoffLimit: 0": "backoffLimit: none",
        "apiVersion: batch/v1": "apiVersion: batch/v9",
        "secretKeyRef: { name: viplake, key: client_id }": "secretKeyRef: { name: viplake }",
    }
    paths = [tmp_path / f"{number}.yaml" for number in range(len(wrong))]
    for path, (right, typo) in zip(paths, wrong.items(), strict=True):
        assert right in text
        path.write_text(text.replace(right, typo))
    assert accepted("1.37", *paths) == []


def test_the_task_runs_a_command_that_exists() -> None:
    task = json.loads((DEPLOY / "fargate-task.json").read_text())
    asked = (
        botocore.session.get_session().get_service_model("ecs").operation_model("RegisterTaskDefinition").input_shape
    )
    assert ParamValidator().validate(task, asked).generate_report() == "", "as ECS takes it"
    assert set(task) <= set(asked.members)
    [container] = task["containerDefinitions"]
    assert container["logConfiguration"]["options"]["awslogs-group"].startswith("/viplake/"), "which the template makes"
    check_command(container["command"])
    assert container["readonlyRootFilesystem"] is True
    [volume] = task["volumes"]
    assert container["mountPoints"] == [{"sourceVolume": volume["name"], "containerPath": "/tmp"}]


def test_cron_ticks_every_few_minutes() -> None:
    [line] = [line for line in (DEPLOY / "cron" / "viplake").read_text().splitlines() if line.startswith("*")]
    minutes, *rest = line.split()[:5]
    assert (minutes, rest) == ("*/3", ["*"] * 4)
    check_command(_arguments(line))


def test_systemd_ticks_every_few_minutes_and_takes_75_for_success() -> None:
    service, timer = _unit("viplake.service"), _unit("viplake.timer")
    assert service["Service"]["Type"] == "oneshot"
    assert service["Service"]["SuccessExitStatus"] == "75"
    check_command(_arguments(service["Service"]["ExecStart"]))
    assert timer["Timer"]["OnCalendar"] == "*:0/3"


def test_a_command_that_does_not_exist_is_found() -> None:
    with pytest.raises(Exception, match=r"(?i)unknown|unrecognized|unused"):
        check_command(["tikc"])


@pytest.mark.parametrize("path", FILES, ids=_ids)
def test_every_setting_that_is_named_exists(path: Path) -> None:
    named = set(re.findall(r"\bVIPLAKE_[A-Z_]*[A-Z]\b", path.read_text()))
    assert named <= KNOWN


@pytest.mark.parametrize("path", FILES, ids=_ids)
def test_deploy_files_have_no_secret_and_no_registry(path: Path) -> None:
    text = path.read_text()
    hosts = set(re.findall(r"https?://([^/\s\"']+)", text))
    assert hosts <= {"auth.veslink.com", "emea.veslink.com", "api.veslink.com"}
    assert not re.search(r"pypi|pythonhosted|index-url|\.dkr\.|ghcr\.|docker\.io|quay\.", text, re.IGNORECASE)
    assert not re.search(r"\bA(KIA|SIA)[A-Z0-9]{16}\b|-----BEGIN", text)
    assert not re.search(r"(?i)(client_secret|password|secret_access_key)\s*[:=]\s*[\"']?[A-Za-z0-9/+]{12,}", text)
