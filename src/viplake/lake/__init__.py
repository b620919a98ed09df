"""PURE. What is stored, and where: the `Lake` value that every part works on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from viplake.lake.layout import Layout
    from viplake.lake.store import Store


@dataclass(frozen=True, slots=True)
class Lake:
    """One environment's lake: its objects, and the keys that they have.

    Attributes:
        store: holds the objects.
        layout: names them.
        url: of the lake, free of credentials; empty where nothing depends on it.
    """

    store: Store
    layout: Layout
    url: str = ""

    @property
    def etags_prove(self) -> bool:
        """Whether an equal ETag proves equal content: on S3 it does, in a folder it does not."""
        return self.url.startswith("s3:")
