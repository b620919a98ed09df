"""I/O. A hook of mkdocs: pages and files outside docs/ that the documentation links to become part of the site.

In the repository `docs/index.md` links to `../README.md`, so that the link works on the code host. The site has no
folder above docs/, so each such file gets an address in the site, and the links to it are changed.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from mkdocs.structure.files import File

if TYPE_CHECKING:
    from mkdocs.config.defaults import MkDocsConfig
    from mkdocs.structure.files import Files
    from mkdocs.structure.pages import Page

ROOT: Final = Path(__file__).parents[1]
LINK: Final = re.compile(r"(\]\()(?!#|[a-z]+:)([^)#\s]+)")

PAGES: Final = {
    name: f"{name.partition('.')[0].lower()}.md"
    for name in ("README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md")
}
"""Pages of the root, and their paths in the site; `readme.md`, because mkdocs takes README.md for an index."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of the root, and every file outside docs/ that a page links to."""
    linked = {
        target
        for page in (ROOT / "docs").rglob("*.md")
        for target in _targets(page.relative_to(ROOT).as_posix(), page.read_text(encoding="utf-8"))
    }
    linked |= {target for name in PAGES for target in _targets(name, (ROOT / name).read_text(encoding="utf-8"))}
    for target in sorted(linked | PAGES.keys()):
        if not target.startswith("docs/") and (ROOT / target).is_file():
            files.append(File.generated(config, PAGES.get(target, target), abs_src_path=str(ROOT / target)))
    return files


def on_page_markdown(markdown: str, page: Page, **_: Any) -> str:
    """Change links that leave docs/, and those of the root's pages that lead into it."""
    address = page.file.src_uri
    source = next((name for name, known in PAGES.items() if known == address), f"docs/{address}")

    def changed(link: re.Match[str]) -> str:
        target = _resolved(source, link[2])
        there = target.removeprefix("docs/") if target.startswith("docs/") else PAGES.get(target, target)
        return link[1] + posixpath.relpath(there, posixpath.dirname(address) or ".")

    return LINK.sub(changed, markdown)


def _targets(source: str, text: str) -> set[str]:
    return {_resolved(source, link[2]) for link in LINK.finditer(text)}


def _resolved(source: str, target: str) -> str:
    """The path of a link's target in the repository."""
    return posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
