"""Hooks of mkdocs: pages that lie elsewhere in the repository, and links between them that are right in both places.

In the repository a link is relative to the file it is in, so that it works where the files are read; on the site it is
relative to the page. Files that are no page, such as the licence, are named there but not linked.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parent.parent
#: What lies outside of docs/ -> its page.
PAGES = {
    "README.md": "index.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "ken/FORMAT.md": "format.md",
}
_SOURCES = {page: source for source, page in PAGES.items()}
_LINK = re.compile(r"\[([^\]\[]*(?:\[[^\]]*\][^\]\[]*)*)\]\((?![a-z]+:|#)([^)\s#]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages of `PAGES`."""
    for source, page in PAGES.items():
        files.append(File.generated(config, page, abs_src_path=str(ROOT / source)))
    return files


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """Make every relative link of a page one to another page of the site."""
    return linked(markdown, page.file.src_uri, {file.src_uri for file in files})


def linked(markdown: str, page: str, known: set[str]) -> str:
    """The text of a page with its links as the site has them.

    >>> linked("[a](docs/rules.md#why) [b](LICENSE)", "index.md", {"rules.md"})
    '[a](rules.md#why) b'
    """
    source = _SOURCES.get(page, f"docs/{page}")

    def replaced(found: re.Match[str]) -> str:
        text, target, anchor = found[1], found[2], found[3] or ""
        at = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        to = PAGES.get(at, at.removeprefix("docs/"))
        if to in known:
            return f"[{text}]({posixpath.relpath(to, posixpath.dirname(page) or '.')}{anchor})"
        if not (ROOT / at).exists():
            return found[0]  # mkdocs says that it leads nowhere
        return text

    return _LINK.sub(replaced, markdown)
