"""I/O. Draw docs/img/demo.svg anew, from a real run of the demo: part of `make pictures`.

The demo runs as a user would start it; what it prints is what is drawn, from the Hour in trouble to the table.
The picture fetches nothing when it is looked at.
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

PICTURE = Path(__file__).parents[1] / "docs" / "img" / "demo.svg"
WIDTH = 125
STYLES = (
    (r"^\d{4}-\d\d-\d\dT\d\d  .*", "bold"),
    (r"delivered: .*|delivered(?=  )|all proven", "green"),
    (r"killed with \d+ files landed", "yellow"),
    (r"failed: .*|failed(?=  )|cause vendor_job_failed.*", "red"),
)


def told() -> str:
    """What the demo prints."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "viplake", "demo", "--folder", f"{folder}/demo-lake"]
        run = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - our own command
    return run.stdout


def scenes(text: str) -> list[str]:
    """From the second Hour to the proof; rows of the table cut to the picture's width."""
    hours = [found.start() for found in re.finditer(r"(?m)^\d{4}-\d\d-\d\dT\d\d  [A-Z]", text)]
    shown = text[hours[1] : text.index("Beside it, ")].rstrip()
    return ["$ viplake demo", "...", *(line[:WIDTH].rstrip() for line in shown.splitlines())]


def drawn(lines: list[str]) -> str:
    """The lines as SVG."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), color_system="truecolor")
    for line in lines:
        text = Text(line)
        for pattern, style in STYLES:
            text.highlight_regex(pattern, style)
        console.print(text)
    svg = console.export_svg(title="viplake demo", unique_id="viplake-demo")
    return re.sub(r"\s*@font-face \{.*?\}", "", svg, flags=re.DOTALL)


if __name__ == "__main__":
    PICTURE.write_text(drawn(scenes(told())), encoding="utf-8")
