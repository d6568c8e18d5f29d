"""Tables as pages show them: columns with a heading and a meaning; those without any value are left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from nightreel.core import columns

Kind = Literal["text", "number", "score", "share", "percent", "instant", "user", "video", "run", "link"]
_NUMERIC = ("number", "score", "share", "percent", "user", "video", "run")


@dataclass(frozen=True)
class Column:
    """A table's column.

    Attributes:
        key: of the rows.
        kind: how a value is shown.
        meaning: for the legend.
    """

    key: str
    heading: str
    meaning: str
    kind: Kind = "text"

    @property
    def is_numeric(self) -> bool:
        """Whether values are right-aligned."""
        return self.kind in _NUMERIC


@dataclass(frozen=True)
class Table:
    """A table of a page.

    Attributes:
        title: what it shows, also for screen readers.
        run: the run that its links stay in.
        thumbnails: whether the rows' videos have pictures.
        marked: key of the field that marks a row.
    """

    id: str
    title: str
    columns: tuple[Column, ...]
    rows: Sequence[Mapping[str, Any]]
    run: int | None = None
    marked: str = ""


def table(
    name: str,
    title: str,
    chosen: Sequence[Column],
    rows: Sequence[Mapping[str, Any]],
    *,
    run: int | None = None,
    marked: str = "",
) -> Table:
    """A table with those columns that have a value in some row."""
    having = tuple(one for one in chosen if any(row.get(one.key) not in (None, "") for row in rows))
    return Table(name, title, having, rows, run, marked)


VIDEO = Column(columns.VIDEO_ID, "Video", "The video's id; it leads to the video's page.", "video")
USER = Column(columns.USER_ID, "User", "The user's id; it leads to the user's page.", "user")
PICTURE = Column("picture", "Picture", "The video's picture, from the host that thumbnail_url names.")
CAPTION = Column("caption", "Caption", "What the uploader wrote beside the video.")
CATEGORY = Column("category", "Category", "The names of the three levels of categories.")
RANK = Column(columns.RANK, "Rank", "The row's position in the list, from 1.", "number")
SCORES = (
    Column(columns.SCORE, "Score", "What the list is ordered by; comparable within one list only.", "score"),
    Column(
        columns.CLASSIFIER_SCORE,
        "Classifier",
        "The first model's probability that the user likes the video; it decides which videos are ordered.",
        "score",
    ),
    Column(
        columns.REGRESSOR_SCORE,
        "Regressor",
        "How much the second model expects the user to watch; it orders what the classifier kept.",
        "score",
    ),
    Column(
        columns.ALS_SCORE,
        "ALS",
        "How well the video fits the user's taste, judged by who watched what (product of ALS factors).",
        "score",
    ),
)
SOURCE = Column(
    columns.SOURCE,
    "Source",
    "What gave the row: `hybrid` is the models, every other name a fallback for users with few plays.",
)
MOVED_BY = Column(
    columns.RULE,
    "Moved by",
    "What moved the row, if it is not in the model's order: a rule of `nightreel rules list`, by its "
    "number, repeats, diversity or a draw.",
)
CANDIDATES = Column(
    columns.CANDIDATE_SOURCES,
    "Candidate sources",
    "Which candidate sources named the video.",
)
