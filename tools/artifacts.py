"""I/O. Builds what the cloud runs, from the lock alone, the same bytes each time: the Lambda zip, the Glue folder.

python tools/artifacts.py lambda --python 3.13 --arch arm64     dist/viplake-lambda-py3.13-arm64.zip
python tools/artifacts.py wheel                                 dist/viplake-VERSION-py3-none-any.whl
python tools/artifacts.py glue --python 3.11                    dist/glue/: all that a Glue job is given
python tools/artifacts.py wheels --python 3.13                  whether the lock has wheels for that Python

The zip holds what the package itself needs: no extra, no build tool, no simulator and no demo, and no uvloop, which
the handler does without.
boto3 stays in although Lambda has one of its own: that one changes under us without notice.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
import zipfile
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import TYPE_CHECKING, Final

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT: Final = Path(__file__).parents[1]
LOCK: Final = ROOT / "requirements.lock"
IMAGE_LOCK: Final = ROOT / "locks" / "image.lock"
DIST: Final = ROOT / "dist"
SITE: Final = Path(sysconfig.get_path("purelib"))

LARGEST: Final = 250_000_000
"""Bytes unzipped (AWS Lambda Developer Guide, "Lambda quotas": deployment package)."""

PLATFORMS: Final = {"arm64": "aarch64", "x86_64": "x86_64"}
GLIBC: Final = "manylinux_2_34"
"""Of Amazon Linux 2023: Lambda's python3.12 and 3.13, and Glue 5. Lambda's python3.11 has 2.26, for which neither
DuckDB nor arro3 has a wheel."""

PYTHONS: Final = ("3.12", "3.13")
GLUE_PYTHONS: Final = ("3.11", "3.13")
"""Of Glue 5.0 and 5.1, and of 6.0 (AWS Glue Developer Guide, "AWS Glue versions")."""

GLUE_ARCH: Final = "x86_64"
GLUE_MODULES: Final = {
    "requirements-content.txt": ("spark",),
    "requirements.txt": ("holidays", "notify", "report", "spark", "tables"),
}
"""What pip installs for a kind of job, where executors or a report need packages: file -> extras of viplake, all of
them in `IMAGE_LOCK`."""

WITHOUT: Final = frozenset({"uvloop"})
NOT_ON_LAMBDA: Final = re.compile(r"viplake/(simulator/|commands/(demo|local_s3|simulate)\.py$)")
"""What a Lambda function never runs."""

EPOCH: Final = "1577836800"
"""2020-01-01: the time of all that is built. A zip knows none before 1980, and the wheel's builder agrees with this."""

UNWANTED: Final = re.compile(
    r"(^|/)(__pycache__|bin|share)/|\.dist-info/(RECORD|INSTALLER|REQUESTED|direct_url\.json)$|\.lock$"
)


def main(arguments: list[str]) -> int:
    """Build what is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("lambda", "glue", "wheel", "wheels"))
    parser.add_argument("--python", help="3.13; for glue 3.11")
    parser.add_argument("--arch", choices=PLATFORMS, default="arm64")
    parser.add_argument("--out", type=Path, default=DIST)
    given = parser.parse_args(arguments)
    given.out.mkdir(parents=True, exist_ok=True)
    if given.what == "lambda":
        build_lambda(given.out, given.python or "3.13", given.arch)
    elif given.what == "glue":
        build_glue(given.out, given.python or "3.11")
    elif given.what == "wheel":
        print(_shown(build_wheel(given.out)))
    else:
        check_wheels(given.python or "3.13")
    return 0


def build_lambda(out: Path, python: str, arch: str) -> Path:
    """The zip for Lambda; says its size; `SystemExit` where it is too large."""
    if python not in PYTHONS:
        sys.exit(
            f"Lambda's Python must be one of {', '.join(PYTHONS)}: older ones lack the C library that DuckDB needs"
        )
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder) / "site"
        install_needed(site, python, arch)
        with zipfile.ZipFile(build_wheel(Path(folder))) as wheel:
            extract_for_lambda(wheel, site)
        target = out / f"viplake-lambda-py{python}-{arch}.zip"
        size = write_zip(site, target)
    if size > LARGEST:
        sys.exit(f"{target.name}: {size:,} bytes unzipped are more than the {LARGEST:,} that Lambda takes")
    packed = target.stat().st_size
    print(f"{_shown(target)}: {packed / 1e6:.1f} MB, {size / 1e6:.1f} MB unzipped (limit {LARGEST / 1e6:.0f})")
    return target


def extract_for_lambda(wheel: zipfile.ZipFile, folder: Path) -> list[str]:
    """Extract what a Lambda function runs of the wheel; return the names."""
    names = [name for name in wheel.namelist() if not NOT_ON_LAMBDA.match(name)]
    wheel.extractall(folder, names)
    return names


def build_glue(out: Path, python: str) -> Path:
    """Build the folder for Glue: script, package, packed libraries, requirements of each kind of job, viplake.toml."""
    if python not in GLUE_PYTHONS:
        sys.exit(f"Glue's Python must be one of {', '.join(GLUE_PYTHONS)}")
    target = out / "glue"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    build_package(target)
    with tempfile.TemporaryDirectory() as folder:
        site = Path(folder)
        install_needed(site, python, GLUE_ARCH)
        write_zip(site, target / f"viplake-packages-py{python}.zip")
    add_glue_files(target)
    for path in sorted(target.iterdir()):
        print(f"{_shown(path)}: {path.stat().st_size / 1e6:.1f} MB")
    return target


def build_package(folder: Path) -> Path:
    """Build the package as a zip, which Spark can hand to its executors. They cannot import from a wheel."""
    wheel = build_wheel(folder)
    package = wheel.with_name(f"{'-'.join(wheel.name.split('-')[:2])}.zip")
    with tempfile.TemporaryDirectory() as unpacked:
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(unpacked)
        write_zip(Path(unpacked), package)
    wheel.unlink()
    return package


def add_glue_files(folder: Path) -> None:
    """Add the script, the requirements of each kind of job, and an empty viplake.toml."""
    shutil.copyfile(ROOT / "deploy" / "glue_job.py", folder / "glue_job.py")
    for name, extras in GLUE_MODULES.items():
        (folder / name).write_text(locked(needed(SITE, _own_requirements(*extras))))
    (folder / "viplake.toml").write_text("# Settings that are the same for every run of the job; its parameters win.\n")


def locked(names: set[str]) -> str:
    """Return the lines of the image's lock for these packages, each with its hashes."""
    entries = re.split(r"^(?=\S)", IMAGE_LOCK.read_text(), flags=re.MULTILINE)
    return "".join(entry for entry in entries if canonicalize_name(entry.partition("==")[0]) in names)


def check_wheels(python: str) -> None:
    """Whether each line of the image's lock has a wheel for this Python, on both architectures."""
    for arch in PLATFORMS:
        with tempfile.TemporaryDirectory() as folder:
            install(Path(folder), python, arch, IMAGE_LOCK)
            count = len(list(distributions(path=[folder])))
        print(f"Python {python}, {arch}, {GLIBC}: wheels for all {count} packages of {IMAGE_LOCK.name}")


def install(site: Path, python: str, arch: str, lock: Path) -> None:
    """All of a lock, as wheels for that platform; `SystemExit` where one is missing."""
    platform = f"{PLATFORMS[arch]}-{GLIBC}"
    options = ["--only-binary", ":all:", "--no-deps", "--require-hashes", "--link-mode", "copy", "--no-config"]
    where = ["--target", str(site), "--python-version", python, "--python-platform", platform]
    done = subprocess.run(  # noqa: S603 - our own tool, our own lock
        [Path(sys.executable).with_name("uv"), "pip", "install", "--quiet", *options, *where, "-r", str(lock)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"no wheels for Python {python} on {platform}:\n{done.stderr}")


def install_needed(site: Path, python: str, arch: str) -> None:
    """Install what the package itself needs, without what a cloud cannot use."""
    install(site, python, arch, LOCK)
    wanted = needed(site, _own_requirements())
    for distribution in distributions(path=[str(site)]):
        if canonicalize_name(distribution.name) not in wanted:
            _remove(distribution)


def build_wheel(folder: Path) -> Path:
    """The package as a wheel, with fixed times."""
    command = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    environ = os.environ | {"SOURCE_DATE_EPOCH": EPOCH}  # noqa: TID251 - a tool hands its environment on
    subprocess.run(command, cwd=ROOT, env=environ, check=True, capture_output=True)  # noqa: S603 - as above
    (wheel,) = folder.glob("viplake-*.whl")
    return wheel


def needed(site: Path, wanted: Iterable[Requirement]) -> set[str]:
    """The names of all that these requirements need, from what the installed packages say of themselves."""
    there = {canonicalize_name(d.name): d for d in distributions(path=[str(site)])}
    found: set[str] = set()
    queue = list(wanted)
    while queue:
        requirement = queue.pop()
        name = canonicalize_name(requirement.name)
        if name in found or name in WITHOUT or name not in there:  # what the markers leave out is not there
            continue
        found.add(name)
        queue += [
            one
            for line in there[name].requires or []
            if (one := Requirement(line)).marker is None or "extra" not in str(one.marker) or requirement.extras
        ]
    return found


def write_zip(folder: Path, target: Path) -> int:
    """A zip of the folder whose bytes depend on the files' names and contents alone; the bytes unzipped."""
    size = 0
    date = (2020, 1, 1, 0, 0, 0)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            name = path.relative_to(folder).as_posix()
            if UNWANTED.search(name):
                continue
            info = zipfile.ZipInfo(name, date)
            info.external_attr = 0o644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            data = path.read_bytes()
            size += len(data)
            archive.writestr(info, data)
    return size


def _own_requirements(*extras: str) -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    more = (line for extra in extras for line in project["optional-dependencies"][extra])
    return [Requirement(line) for line in (*project["dependencies"], *more)]


def _remove(distribution: Distribution) -> None:
    for file in distribution.files or []:
        Path(str(distribution.locate_file(file))).unlink(missing_ok=True)


def _shown(path: Path) -> Path:
    return path.relative_to(ROOT) if path.is_relative_to(ROOT) else path


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
