"""The content of the scorecard page: the nights as the command prints them, as a table and as a trend."""

from datetime import datetime
from typing import Any

from nightreel.browse.table import SOURCE, Column, Table, table
from nightreel.core import columns
from nightreel.core.settings.needs import DatabaseNeeds
from scoring.outcomes.card import NightFacts, ReachFacts
from scoring.outcomes.card_rows import rows_of_arms
from scoring.outcomes.counting import LAST_POSITION
from scoring.outcomes.log import LIKED, PLAYED
from scoring.outcomes.scorecard import scorecard

# The drawing's area, in the units of its view box.
_LEFT, _RIGHT, _TOP, _BOTTOM = 50.0, 710.0, 10.0, 140.0
_AT_ALL_LOOKS = "To the first arm; the intervals of all nights hold together, with 95 %."
_HOURS = "Hours that listed videos were played, each play in full."
_BEFORE_REACH = (
    Column(columns.RUN_ID, "Run", "The run whose lists were shown.", "number"),
    Column("shown_from", "Shown from, UTC", "When apps began to read it.", "instant"),
    Column("users", "Users", "Users with a list.", "number"),
    Column("active_users", "Active", "Of these, who played anything while it was shown.", "number"),
)
_AFTER_REACH = (
    Column("shown", "Shown", "Listed rows that the app displayed, by its log.", "number"),
    Column("played", "Played", "Listed rows that their user played while they were shown.", "number"),
    Column("liked", "Liked", "Listed rows that their user liked then.", "number"),
    Column("hours", "Hours", _HOURS, "number"),
    Column("fresh_said", "Fresh", "Share of the rows whose video was at most 7 days old then.", "number"),
    Column("coverage_said", "Coverage", "Share of all known videos that are in some list.", "number"),
    Column("remarks", "Remark", "Figures outside the band of earlier nights."),
)
_CELLS = (
    SOURCE,
    Column("ranks", "Ranks", "The positions in the list that are counted together.", "number"),
    Column("segment", "Segment", "Users by plays that the run knew: new none, cold few, warm the others."),
    Column("listed", "Listed", "Rows of these lists.", "number"),
    Column("shown", "Shown", "Of these, what the app displayed, by its log.", "number"),
    Column("played", "Played", "Of these, what their user played while they were shown.", "number"),
    Column("liked", "Liked", "Of these, what their user liked.", "number"),
    Column("hours", "Hours", _HOURS, "number"),
)

_ARMS = (
    Column("arm", "Arm", "The arm of the experiment; the first one is the baseline."),
    Column("share", "Share", "Of the users, as set.", "number"),
    Column("users", "Users", "Users with a list in the newest night.", "number"),
    Column("model", "Model", "The version that makes its lists."),
    Column("nights", "Nights", "Judged nights of this experiment.", "number"),
    Column("reached", "Played any", "Share of active users who played something of their list.", "number"),
    Column("liked", "Liked any", "Share of active users who liked something of their list.", "number"),
    Column("rows played", "Rows played", "Per active user and night.", "number"),
    Column("rows liked", "Rows liked", "Per active user and night.", "number"),
    Column(
        "liked against first",
        "Liked any, difference",
        "From the first arm, in points, with its 95 % interval.",
        "number",
    ),
    Column(
        "rows played against first",
        "Rows played, difference",
        "From the first arm, with its 95 % interval.",
        "number",
    ),
    Column("rows liked against first", "Rows liked, difference", _AT_ALL_LOOKS, "number"),
    Column("remark", "Remark", "Whether users are split as the shares say."),
)
_POSITIONS = (
    Column(
        "position",
        "Position",
        "The position at which the app displayed the row; all beyond 100 together.",
        "number",
    ),
    Column("shown", "Shown", "Listed rows that were displayed there.", "number"),
    Column("played", "Played", "Of these, what their user played within a day of it.", "number"),
    Column("liked", "Liked", "Of these, what their user liked.", "number"),
    Column("played_said", "Played of shown", "Rows played, as a share of those shown.", "number"),
)


# A night, and its reach by depth for the kind of hit that is asked for.
_Reached = tuple[NightFacts, dict[int, ReachFacts]]


def scorecard_page(settings: DatabaseNeeds, *, days: int, hit: str, replays: bool) -> dict[str, Any]:
    """The facts of `nightreel scorecard`, each night's reach by depth for one kind of hit, and the trends.

    Raises:
        InputError: there is no database yet.
        NightreelError: the database cannot be read.
    """
    card = scorecard(settings, days=days, replays=replays)
    reach = [_by_depth(night, hit) for night in card["nights"]]
    depths = sorted({depth for of_night in reach for depth in of_night})
    nights = list(zip(card["nights"], reach, strict=True))
    return {
        **card,
        "hit": hit,
        "other_hit": PLAYED if hit == LIKED else LIKED,
        "replays": replays,
        "trends": [_trend(nights, depth) for depth in depths],
        "nights_table": _nights_table(nights, depths, hit),
        "cells_table": _cells_table(card["nights"][0]) if card["nights"] else None,
        "arms_table": table("arms", "Arms of the experiment", _ARMS, rows_of_arms(card["arms"]))
        if card["arms"]
        else None,
        "positions_table": _positions_table(card["nights"][0]) if card["nights"] else None,
    }


def _by_depth(night: NightFacts, hit: str) -> dict[int, ReachFacts]:
    return {one["depth"]: one for one in night["reach"] if one["hit"] == hit}


def _nights_table(nights: list[_Reached], depths: list[int], hit: str) -> Table:
    rows = []
    for night, by_depth in nights:
        remarks = "; ".join(night["out_of_band"]) if night["judged"] else "not all played yet"
        row: dict[str, Any] = {
            **night,
            "hours": _hours(night["watch_ms"]),
            "fresh_said": percent(night["fresh"]),
            "coverage_said": percent(night["coverage"]),
            "remarks": remarks,
        }
        for depth, one in by_depth.items():
            ends = (f"{100 * end:+.1f}" for end in (one["low"], one["high"]))
            row |= {
                f"list_{depth}": percent(one["share_list"]),
                f"popularity_{depth}": percent(one["share_popularity"]),
                f"difference_{depth}": f"{100 * one['difference']:+.1f} [{', '.join(ends)}]",
            }
        rows.append(row)
    chosen = [*_BEFORE_REACH]
    for depth in depths:
        chosen += _reach_columns(depth, hit)
    return table("nights", "Nights", [*chosen, *_AFTER_REACH], rows, marked="out_of_band")


def _reach_columns(depth: int, hit: str) -> tuple[Column, ...]:
    reached = f"Share of active users who {hit} a video of the first {depth}"
    return (
        Column(f"list_{depth}", f"@{depth}", f"{reached} of their list.", "number"),
        Column(
            f"popularity_{depth}",
            f"Popularity @{depth}",
            f"{reached} of the day before's most liked.",
            "number",
        ),
        Column(
            f"difference_{depth}",
            f"Difference @{depth}, 95 %",
            "The lists less popularity, in points, with its interval: above 0 the lists are better.",
            "number",
        ),
    )


def _cells_table(night: NightFacts) -> Table:
    rows = [
        {**cell, "ranks": f"{cell['rank_from']}–{cell['rank_to']}", "hours": _hours(cell["watch_ms"])}
        for cell in night["cells"]
    ]
    title = f"Run {night[columns.RUN_ID]} by source, rank and user segment"
    return table("cells", title, _CELLS, rows)


def _positions_table(night: NightFacts) -> Table | None:
    """Where rows of the newest night were displayed; None without an exposure log."""
    if not night["positions"]:
        return None
    rows = [
        {**row, "position": _position(row["position"]), "played_said": percent(row[PLAYED] / row["shown"])}
        for row in night["positions"]
    ]
    return table("positions", f"Run {night[columns.RUN_ID]} by displayed position", _POSITIONS, rows)


def _position(position: int) -> str:
    return {0: "unknown", LAST_POSITION: f"{LAST_POSITION} and more"}.get(position, str(position))


def percent(share: float | None) -> str:
    """A share in per cent with one decimal; a dash for None."""
    return "–" if share is None else f"{100 * share:.1f} %"


def _hours(watch_ms: float) -> str:
    return f"{watch_ms / 3_600_000:.1f}"


def _trend(nights: list[_Reached], depth: int) -> dict[str, Any]:
    """Lines of one depth, from the oldest night to the newest; the top is the largest share."""
    having = [(night, reach[depth]) for night, reach in reversed(nights) if depth in reach]
    first, last = having[0][0]["shown_from"], having[-1][0]["shown_from"]
    shares = [(reach["share_list"], reach["share_popularity"]) for _, reach in having]
    top = max(max(pair) for pair in shares) or 1.0
    x = [_x(night["shown_from"], first, last) for night, _ in having]
    y = [tuple(_BOTTOM - share / top * (_BOTTOM - _TOP) for share in pair) for pair in shares]
    lists, popularity = (
        " ".join(f"{at:.1f},{of_night[n]:.1f}" for at, of_night in zip(x, y, strict=True)) for n in range(2)
    )
    points = [
        {"x": f"{at:.1f}", "y": f"{of_night[0]:.1f}", "share": share[0], "run_id": night["run_id"]}
        for at, of_night, share, (night, _) in zip(x, y, shares, having, strict=True)
    ]
    return {
        "depth": depth,
        "top": top,
        "first": first,
        "last": last,
        "lists": lists,
        "popularity": popularity,
        "points": points,
    }


def _x(at: datetime, first: datetime, last: datetime) -> float:
    share = (at - first) / (last - first) if last > first else 0.5
    return _LEFT + share * (_RIGHT - _LEFT)
