"""Lakes of the whole command, read without any code of ours."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import obstore

if TYPE_CHECKING:
    from pathlib import Path

    from servers.seaweed import Seaweed


class Bucket:
    """A lake on SeaweedFS, read without any code of ours."""

    def __init__(self, seaweed: Seaweed) -> None:
        self.name = seaweed.bucket()
        self.store = seaweed.store(self.name)
        self.url = f"s3://{self.name}"

    def objects(self) -> dict[str, Any]:
        return {meta["path"]: meta for page in obstore.list(self.store) for meta in page}

    def md5(self, key: str) -> str:
        digest = hashlib.md5()
        for chunk in obstore.get(self.store, key).stream():
            digest.update(bytes(chunk))
        return digest.hexdigest()

    def read(self, key: str) -> bytes:
        return bytes(obstore.get(self.store, key).bytes())

    def write(self, key: str, data: bytes) -> None:
        obstore.put(self.store, key, data)


class Folder:
    """A lake in a folder, read without any code of ours."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.url = f"file://{path}"

    def objects(self) -> dict[str, Any]:
        return {
            str(p.relative_to(self.path)): {"last_modified": p.stat().st_mtime_ns, "size": p.stat().st_size}
            for p in self.path.rglob("*")
            if p.is_file()
        }

    def md5(self, key: str) -> str:
        with (self.path / key).open("rb") as file:
            return hashlib.file_digest(file, "md5").hexdigest()

    def read(self, key: str) -> bytes:
        return (self.path / key).read_bytes()

    def write(self, key: str, data: bytes) -> None:
        path = self.path / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
