"""The port of the vendor: what the run may import."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.system


def test_the_port_is_importable_where_aiohttp_is_not_installed() -> None:
    program = "import sys; sys.modules['aiohttp'] = None; import viplake.vendor.port, viplake.vendor.links"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
