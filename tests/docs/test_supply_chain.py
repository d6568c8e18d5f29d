"""What nightreel is made of: pinned with hashes, each package with its licence, each dependency with why."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import nightreel

ROOT = Path(__file__).parents[2]


def _licences() -> ModuleType:
    specification = importlib.util.spec_from_file_location("docs_licences", ROOT / "docs" / "licences.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


licences = _licences()
LISTED = {
    name: (version, licence)
    for name, version, licence in re.findall(
        r"^\| (\S+) \| (\S+) \| (.+) \|$",
        (ROOT / "docs" / "licences.md").read_text(encoding="utf-8"),
        flags=re.MULTILINE,
    )
    if name not in ("package", "---")
}


def test_every_locked_package_is_listed_with_its_licence() -> None:
    locked = licences.locked()
    assert {name: version for name, (version, _) in LISTED.items()} == {
        name: version for name, (version, _) in locked.items()
    }, "run `make docs`"
    for name, (_, licence) in LISTED.items():
        assert licence not in ("not said", "not installed"), name
        assert licences.licence(name) in (None, licence), f"{name}: run `make docs`"


def test_no_licence_would_bind_those_who_use_nightreel() -> None:
    for name, (_, licence) in LISTED.items():
        assert not re.search(r"AGPL|(?<!L)GPL|SSPL|BUSL|Commons Clause", licence), f"{name}: {licence}"


def test_every_pin_has_hashes() -> None:
    for lock in (
        "requirements.lock",
        "requirements-ray.lock",
        "requirements-sequence.lock",
        "requirements-dev.lock",
    ):
        text = (ROOT / lock).read_text(encoding="utf-8")
        pins = re.findall(r"^[A-Za-z0-9][^\n]*==.*?(?=^\S|\Z)", text, flags=re.MULTILINE | re.DOTALL)
        assert len(pins) > 50
        assert all("--hash=sha256:" in pin for pin in pins)


def test_every_dependency_says_why() -> None:
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    dependencies = text[text.index("dependencies = [") : text.index("[project.scripts]")]
    for line in re.findall(r'^    "[^\n]*', dependencies, flags=re.MULTILINE):
        assert re.search(r"#.*\w{4,}", line), line


def test_the_changelog_names_the_version() -> None:
    assert nightreel.__version__ in (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
