"""The documentation names what exists: links, commands, flags, imports."""

import ast
import importlib
import re
import sys
from pathlib import Path

import pytest

import train
from sslmri import __main__ as command_line

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
VARIABLE = ("$A", "--finetune.augmentation")


def commands(program: str) -> dict[str, set[str]]:
    """Returns the flags that the pages use with each command of a program."""
    found: dict[str, set[str]] = {}
    for page in PAGES:
        for block in re.findall(r"```sh\n(.*?)```", page.read_text(encoding="utf-8"), re.S):
            lines = block.replace("\\\n", " ").replace(*VARIABLE).splitlines()
            for words in (line.partition(" # ")[0].split() for line in lines):
                if program in words[:-1]:
                    name = words[words.index(program) + 1]
                    found.setdefault(name, set()).update(word for word in words if word.startswith("--"))
    return found


def help_of(main, words: list[str], capsys, monkeypatch) -> str:
    monkeypatch.setattr(sys, "argv", [*words, "--help"])
    with pytest.raises(SystemExit, match="0"):
        main()
    return capsys.readouterr().out


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files(page):
    for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text(encoding="utf-8")):
        assert (page.parent / link).exists(), f"{page.name} links to {link}"


def test_commands_of_train_py_and_their_flags_exist(capsys, monkeypatch):
    used = commands("train.py")
    assert {"all", "crossvalidate", "final", "evaluate", "controls", "label-efficiency"} <= used.keys()
    for name, flags in used.items():
        text = help_of(train.main, ["train.py", name], capsys, monkeypatch)
        assert not {flag for flag in flags if not re.search(rf"{flag}(?![\w-])", text)}, name


def test_commands_of_sslmri_and_their_flags_exist(capsys, monkeypatch):
    used = commands("sslmri")
    assert {"app", "train", "screen", "manifest", "audit", "licences"} <= used.keys()
    for name in used.keys() - {"app", "train", "licences"}:
        text = help_of(command_line.main, ["sslmri", name], capsys, monkeypatch)
        assert not {flag for flag in used[name] if not re.search(rf"{flag}(?![\w-])", text)}, name


def test_imports_of_the_examples_exist():
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), re.S)
    assert len(blocks) == 3
    for node in (node for block in blocks for node in ast.walk(ast.parse(block)) if isinstance(node, ast.ImportFrom)):
        module = importlib.import_module(str(node.module))
        assert all(hasattr(module, alias.name) for alias in node.names), node.module


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 130
