"""The reference pages are those of this code, and every command is documented by hand too."""

import importlib.util
import re
import tomllib
from pathlib import Path
from types import ModuleType

import pytest

from nightreel.core import errors
from nightreel.core.errors import NightreelError
from nightreel.core.settings import Settings
from nightreel.core.settings.names import every_setting

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def _generator() -> ModuleType:
    specification = importlib.util.spec_from_file_location("docs_generate", DOCS / "generate.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


generate = _generator()
COMMANDS = [*generate.commands()]
PAGES = generate.pages()
BY_HAND = [ROOT / "README.md", *(page for page in DOCS.glob("*.md") if page.name not in PAGES)]


@pytest.mark.parametrize("page", sorted(PAGES))
def test_a_reference_page_is_not_stale(page: str) -> None:
    assert (DOCS / page).read_text(encoding="utf-8") == PAGES[page], "run `make docs`"


@pytest.mark.parametrize(("typed", "command"), COMMANDS, ids=[typed for typed, _ in COMMANDS])
def test_a_command_has_help_and_stands_in_a_document(typed: str, command: object) -> None:
    assert command.help, f"{typed} has no help"  # type: ignore[attr-defined]
    for parameter in command.params:  # type: ignore[attr-defined]
        assert parameter.help, f"{typed}: {parameter.name} has no help"
    assert any(typed in page.read_text(encoding="utf-8") for page in BY_HAND), f"{typed} is in no document"


def test_every_setting_has_a_meaning_and_every_number_a_limit() -> None:
    for name, one in every_setting(Settings).items():
        field = one.field
        assert field.description, name
        if field.annotation in (int, float, int | None, float | None):
            assert field.metadata, f"{name} has no limits"


def test_the_table_of_exit_codes_has_those_of_the_errors() -> None:
    page = (DOCS / "errors.md").read_text(encoding="utf-8")
    listed = {int(code) for code in re.findall(r"^\| (\d+) \|", page, flags=re.MULTILINE)}
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    used = {kind.exit_code for kind in kinds if issubclass(kind, NightreelError)}
    assert used <= listed
    assert {0, 130, 143} <= listed


@pytest.mark.parametrize("page", sorted(path.name for path in DOCS.glob("*.md")))
def test_links_lead_somewhere(page: str) -> None:
    text = (DOCS / page).read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#]+)", text):
        if not target.startswith("http"):
            assert (DOCS / target).exists(), f"{page}: {target}"


def test_every_page_is_in_the_table_of_contents() -> None:
    contents = (DOCS / "README.md").read_text(encoding="utf-8")
    for page in DOCS.glob("*.md"):
        assert page.name == "README.md" or f"({page.name})" in contents, page.name


def test_settings_that_documents_name_exist() -> None:
    """`nightreel.toml` blocks in the documents hold only settings that there are."""
    for page in BY_HAND:
        for block in re.findall(r"```toml\n(.*?)```", page.read_text(encoding="utf-8"), flags=re.DOTALL):
            for name, value in tomllib.loads(block).items():
                for setting in [f"{name}.{key}" for key in value] if isinstance(value, dict) else [name]:
                    known = setting in every_setting(Settings) or setting == "ranker.lightgbm"
                    assert known, f"{page.name}: {setting}"
