"""Text of others in Markdown: nothing of it is markup."""

from __future__ import annotations

import re

from ken.errors import printable


def plain_text(text: str) -> str:
    """A text as it is to be read, whatever signs are in it: of Markdown, of HTML, of a terminal.

    >>> plain_text("a_b <i> | c")
    'a\\\\_b &lt;i&gt; \\\\| c'
    """
    text = printable(text).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return re.sub(r"([\\`*_{}\[\]()#+!|~])", r"\\\1", text)


def code(text: str) -> str:
    """A text in the type of code, on one line.

    >>> code("a`b")
    '``a`b``'
    """
    text = printable(text).replace("|", "&#124;") if "`" in text else printable(text)
    return f"``{text}``" if "`" in text else f"`{text}`"


def block(lines: str, language: str) -> str:
    """Lines of code. What would end the block is spelled out.

    >>> print(block("ken info net", "sh"))
    ```sh
    ken info net
    ```
    """
    shown = "\n".join(printable(line).replace("```", "` ` `") for line in lines.split("\n"))
    return f"```{language}\n{shown}\n```"
