"""The script of the Glue job. The work is in the package (viplake.aws.glue_main).

Where *Referenced files path* names viplake-packages-py3.11.zip, the libraries come from it and pip installs nothing.
They are unpacked, because Python cannot import compiled modules from a zip.
"""

import sys
import tempfile
import zipfile
from pathlib import Path

for packed in Path().glob(f"viplake-packages-py{sys.version_info.major}.{sys.version_info.minor}.zip"):
    folder = tempfile.mkdtemp(prefix="viplake-packages-")
    with zipfile.ZipFile(packed) as archive:
        archive.extractall(folder)
    sys.path.insert(0, folder)

from viplake.aws import glue_main  # noqa: E402 - it may come from the folder above

glue_main(sys.argv)
