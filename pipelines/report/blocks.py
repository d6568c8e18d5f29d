"""The parts of the page: sections of paragraphs, tables, charts and folds; templates render them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar

from pipelines.report.charts import Chart
from pipelines.report.numerals import Numeral, plain


@dataclass(frozen=True)
class Paragraph:
    """A paragraph of text."""

    text: str
    kind: ClassVar[str] = "paragraph"


@dataclass(frozen=True)
class Heading:
    """A heading inside a section."""

    text: str
    kind: ClassVar[str] = "heading"


@dataclass(frozen=True)
class Table:
    """Rows by column name.

    Attributes:
        main: rows with this first cell are highlighted.
        note: a line under the table.
    """

    caption: str
    rows: Sequence[Mapping[str, Any]]
    main: str | None = None
    note: str = ""
    kind: ClassVar[str] = "table"

    @cached_property
    def columns(self) -> list[str]:
        """The columns that any row has, in the order of the rows."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    @cached_property
    def numeric(self) -> dict[str, bool]:
        """Which columns hold nothing but numbers."""
        return {
            name: all(
                isinstance(row.get(name), Numeral | int | float | None)
                and not isinstance(row.get(name), bool)
                for row in self.rows
            )
            for name in self.columns
        }

    def cells(self, row: Mapping[str, Any]) -> list[tuple[str, str]]:
        """The columns and texts of a row."""
        return [(name, plain(row.get(name))) for name in self.columns]


@dataclass(frozen=True)
class Charts:
    """Charts side by side where there is room."""

    charts: Sequence[Chart]
    kind: ClassVar[str] = "charts"


@dataclass(frozen=True)
class Beside:
    """A table and a chart, side by side where there is room."""

    table: Table
    chart: Chart
    kind: ClassVar[str] = "beside"


@dataclass(frozen=True)
class Fold:
    """A part that is closed until a reader opens it."""

    title: str
    blocks: "Sequence[Block]"
    kind: ClassVar[str] = "fold"


Block = Paragraph | Heading | Table | Charts | Beside | Fold


@dataclass(frozen=True)
class Section:
    """A part of the page with a heading of its own; one that is not `is_open` folds."""

    name: str
    title: str
    blocks: Sequence[Block] = field(default_factory=tuple)
    is_open: bool = False


def without_empty(blocks: Sequence[Block]) -> list[Block]:
    """The blocks that are not empty."""
    kept: list[Block] = []
    for block in blocks:
        if isinstance(block, Fold):
            inner = without_empty(block.blocks)
            if inner:
                kept.append(Fold(block.title, inner))
        elif not (isinstance(block, Table) and not block.rows) and not (
            isinstance(block, Charts) and not block.charts
        ):
            kept.append(block)
    return kept
