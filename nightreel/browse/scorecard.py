"""What the page of the scorecard shows: the nights as the command has them, and their trend as lines."""

from datetime import datetime
from typing import Any

from nightreel.core.settings import Settings
from scoring.outcomes.log import LIKED, PLAYED
from scoring.outcomes.scorecard import scorecard

# The drawing's area, in the units of its view box.
_LEFT, _RIGHT, _TOP, _BOTTOM = 50.0, 710.0, 10.0, 140.0


def scorecard_page(settings: Settings, *, days: int, hit: str, replays: bool) -> dict[str, Any]:
    """The card of `nightreel scorecard`, each night's reach by depth for one kind of hit, and the trends.

    Raises InputError where there is no database yet, NightreelError where it cannot be read.
    """
    card = scorecard(settings, days=days, replays=replays)
    for night in card["nights"]:
        night["by_depth"] = {one["depth"]: one for one in night["reach"] if one["hit"] == hit}
    depths = sorted({depth for night in card["nights"] for depth in night["by_depth"]})
    trends = [_trend(card["nights"], depth) for depth in depths]
    return card | {
        "hit": hit,
        "other_hit": PLAYED if hit == LIKED else LIKED,
        "replays": replays,
        "trends": trends,
    }


def _trend(nights: list[dict[str, Any]], depth: int) -> dict[str, Any]:
    """Lines of one depth, from the oldest night to the newest; the top is the largest share."""
    having = [night for night in reversed(nights) if depth in night["by_depth"]]
    first, last = having[0]["shown_from"], having[-1]["shown_from"]
    shares = [
        (night["by_depth"][depth]["share_list"], night["by_depth"][depth]["share_popularity"])
        for night in having
    ]
    top = max(max(pair) for pair in shares) or 1.0
    x = [_x(night["shown_from"], first, last) for night in having]
    y = [tuple(_BOTTOM - share / top * (_BOTTOM - _TOP) for share in pair) for pair in shares]
    lists, popularity = (
        " ".join(f"{at:.1f},{of_night[n]:.1f}" for at, of_night in zip(x, y, strict=True)) for n in range(2)
    )
    points = [
        {"x": f"{at:.1f}", "y": f"{of_night[0]:.1f}", "share": share[0], "run_id": night["run_id"]}
        for at, of_night, share, night in zip(x, y, shares, having, strict=True)
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
