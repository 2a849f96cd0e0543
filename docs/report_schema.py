"""Writes what is made of the classes in `kenviz.reporting.schema`: the JSON Schema, and tables in docs/report_json.md.

python docs/report_schema.py
"""

from __future__ import annotations

import json
import re
from pathlib import Path

from kenviz.reporting.documentation import ASKED, KNOWN
from kenviz.reporting.schema import json_schema, meanings

DOCS = Path(__file__).parent
PAGE, SCHEMA = DOCS / "report_json.md", DOCS.parent / "kenviz" / "reporting" / "report.schema.json"


def schema_text() -> str:
    """The file of the schema."""
    return json.dumps(json_schema(), indent=1, sort_keys=True) + "\n"


def page_text(page: str) -> str:
    """The page with its tables made again."""
    fields = [f"| `{name}` | {says} | {unit} | {null} |" for name, (says, unit, null) in meanings().items()]
    questions = [
        f"| `{name}` | {question.text} | {'; '.join(question.answers)} | {'the tool' if name in KNOWN else 'you'} |"
        for name, question in (KNOWN | ASKED).items()
    ]
    for name, head, lines in (
        ("fields", "| field | what it is | unit | null if |", fields),
        ("questions", "| name | question | asked by | who knows |", questions),
    ):
        table = "\n".join([head, "|---|---|---|---|", *lines])
        page = re.sub(rf"(<!-- {name} -->\n).*?(\n<!-- end -->)", lambda m, t=table: m[1] + t + m[2], page, flags=re.S)
    return page


if __name__ == "__main__":
    SCHEMA.write_text(schema_text(), encoding="utf-8")
    PAGE.write_text(page_text(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
