"""Rows of lists as `nightreel show --json` prints them: their keys are public, ids are as in the log."""

from typing import TypedDict


class Described(TypedDict):
    """The details by which people recognise a video; None if unknown."""

    caption: str | None
    first_level_category_name: str | None
    second_level_category_name: str | None
    third_level_category_name: str | None


class ListRow(Described):
    """A row of a user's list."""

    rank: int
    video_id: int | str
    score: float
    classifier_score: float | None
    regressor_score: float | None
    als_score: float | None
    source: str
    candidate_sources: str | None
    rule: str | None
    propensity: float | None
    arm: str | None


class RelatedRow(Described):
    """A video of the list of another one's related videos."""

    rank: int
    related_video_id: int | str
    score: float
    source: str


class PopularRow(Described):
    """A video of a list of popular videos."""

    rank: int
    video_id: int | str
    score: float
    source: str
