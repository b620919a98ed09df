"""The command itself, in a process of its own, as users start it."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

# A process keeps its parent's peak of memory through fork and exec (getrusage(2)): so it is started by a small one.
LAUNCHER = """
import os, sys
pid = os.posix_spawn(sys.executable, [sys.executable, "-m", "viplake", *sys.argv[2:]], os.environ)
_, status, usage = os.wait4(pid, 0)
open(sys.argv[1], "w").write(str(usage.ru_maxrss))
sys.exit(os.waitstatus_to_exitcode(status))
"""


@dataclass
class Finished:
    code: int
    out: str
    err: str
    rss_kb: int


@dataclass
class Command:
    """`viplake` in processes of their own, all output kept."""

    environ: dict[str, str]
    folder: Path
    outputs: list[str] = field(default_factory=list)

    def run(self, *arguments: str, kill_after: float | None = None) -> Finished:
        """Run it to its end, or until it is killed."""
        out, err, rss = self.folder / "stdout", self.folder / "stderr", self.folder / "rss"
        around = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
        with out.open("wb") as out_file, err.open("wb") as err_file:
            process = subprocess.Popen(
                [sys.executable, "-c", LAUNCHER, str(rss), *arguments],
                env=around | self.environ,
                cwd=self.folder,
                stdout=out_file,
                stderr=err_file,
                start_new_session=True,
            )
            try:
                process.wait(kill_after)
            except subprocess.TimeoutExpired:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        rss_kb = int(rss.read_text()) if process.returncode >= 0 else 0
        finished = Finished(process.returncode, out.read_text(), err.read_text(), rss_kb)
        self.outputs += [finished.out, finished.err]
        return finished

    def json(self, *arguments: str, expect: int = 0) -> Any:
        finished = self.run(*arguments, "--json")
        assert finished.code == expect, finished
        return json.loads(finished.out)
