"""What the README says, done."""

import re
from dataclasses import replace
from pathlib import Path

import ken

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_the_ten_lines_of_python_run_and_say_what_they_promise(tmp_path, monkeypatch, capsys):
    whole = ken.demo.pair()
    fewer = replace(whole, texts=whole.texts[:100], labels=whole.labels[:100])  # else labelling takes most of the time
    monkeypatch.setattr(ken.demo, "pair", lambda: fewer)
    (code,) = re.findall(r"```python\n(.*?)```", README, re.S)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(code, "README.md", "exec"), names)
    assert (tmp_path / "report.html").stat().st_size > 1_000_000
    assert "11,358,918 of 22,715,526 entries retained" in capsys.readouterr().out
    assert names["control"].retained == names["net"].retained
    assert type(names["model"]) is type(names["pair"].fine_tuned)


def test_links_pictures_files_and_make_targets_exist():
    for target in re.findall(r"\]\((?!https?:)([^)#]+)\)", README):
        assert (ROOT / target).exists(), target
    for name in re.findall(r"`((?:[\w.]+/)+[\w.]*)`", README):
        if not name.startswith(("ken-demo", "figures", "views")):
            assert (ROOT / name).exists(), name
    targets = re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M)
    for text in (README, (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")):
        assert set(re.findall(r"make ([a-z]+)`", text)) <= set(targets)
