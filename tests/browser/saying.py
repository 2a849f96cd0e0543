"""What axe says of views in a page."""

from typing import Any

from axe_playwright_python.sync_playwright import Axe


def said_by_axe(one: Any, look: str) -> list[str]:
    """Each violation within elements of a class, and where it is; what BokehJS puts into shadow roots is not ours."""
    result = Axe().run(one.page, context={"include": [f".{look}"], "exclude": [[".bk-Column"], [".bk-Row"]]})
    return [f"{rule['id']}: {node['html'][:200]}" for rule in result.response["violations"] for node in rule["nodes"]]
