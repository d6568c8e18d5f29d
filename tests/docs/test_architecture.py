"""Every file that the page of the architecture names is there, and defines what is named beside it."""

import re
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_PAGE = (_ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
_FILE = r"`((?:[a-z_]+/)+[a-z_]+\.py)`"
_WALKS = {"A timestamp": 10, "A user": 12, "A setting": 12}


@pytest.mark.parametrize("file", sorted(set(re.findall(_FILE, _PAGE))))
def test_named_file_is_there(file: str) -> None:
    assert (_ROOT / file).is_file()


@pytest.mark.parametrize(("file", "name"), sorted(set(re.findall(_FILE + r": `(\w+)`", _PAGE))))
def test_named_function_is_defined_in_its_file(file: str, name: str) -> None:
    assert re.search(rf"^(?:def|class) {name}\b", (_ROOT / file).read_text(encoding="utf-8"), re.MULTILINE)


@pytest.mark.parametrize("walk", _WALKS)
def test_a_walk_is_short(walk: str) -> None:
    section = re.search(rf"^## {walk}.*?(?=^## |\Z)", _PAGE, re.MULTILINE | re.DOTALL)
    assert section is not None
    assert len(set(re.findall(_FILE, section[0]))) <= _WALKS[walk]
