"""The fenced blocks of the pages, in order."""

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from textwrap import dedent

ROOT = Path(__file__).parents[2]
PAGES = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "feast_asof" / "README.md",
    *sorted((ROOT / "docs").rglob("*.md")),
)
_FENCED = re.compile(r"^( *)```(\w+)[^\n]*\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block.

    Attributes:
        page: below the repository.
        language: the word after the fence.
    """

    page: str
    language: str
    text: str

    @property
    def first(self) -> str:
        """The first line, by which tables name the block."""
        return self.text.splitlines()[0]

    @property
    def lines(self) -> list[str]:
        """The commands of a shell block, without comments, a line each."""
        found = (re.sub(r"(^|\s+)#.*", "", line).strip() for line in self.text.splitlines())
        return [line for line in found if line]


@cache
def blocks() -> tuple[Block, ...]:
    """Every block of every page."""
    return tuple(
        Block(str(page.relative_to(ROOT)), language, dedent(text))
        for page in PAGES
        for _, language, text in _FENCED.findall(page.read_text(encoding="utf-8"))
    )
