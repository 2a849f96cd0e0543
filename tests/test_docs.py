"""What the pages under docs say, done."""

import re
from pathlib import Path

import numpy as np

from ken import rules

DOCS = Path(__file__).parent.parent / "docs"


def test_the_rule_of_the_page_on_rules_works(monkeypatch):
    monkeypatch.setattr(rules, "_RULES", dict(rules._RULES))
    text = (DOCS / "rules.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", text, re.S)
    exec(compile(code, "rules.md", "exec"), {})
    assert rules.retain(np.array([3.0, -1.0, 2.0]), 2, "smallest").tolist() == [False, True, True]
    table = re.findall(r"^\| `(\w+)` \| ", text.split("Of equal values")[0], re.M)
    assert table == rules.names()[:-1]
