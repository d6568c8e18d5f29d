"""A scorecard as tables for a terminal and for the pages."""

from collections.abc import Sequence
from typing import Any

from nightreel.core import columns
from scoring.outcomes.card import ArmFacts, NightFacts, Scorecard
from scoring.outcomes.log import LIKED, PLAYED, SHOWN


def as_rows(card: Scorecard) -> list[dict[str, Any]]:
    """The nights as a table for a terminal: reach in per cent of the users who played anything."""
    rows = []
    for night in card["nights"]:
        row: dict[str, Any] = {
            columns.RUN_ID: night[columns.RUN_ID],
            "shown_from": f"{night['shown_from']:%Y-%m-%d %H:%M}",
            "users": night["users"],
            "active": night["active_users"],
        }
        for one in night["reach"]:
            if one["hit"] == LIKED:
                row[f"@{one['depth']}"] = percent(one["share_list"])
                row[f"popular @{one['depth']}"] = percent(one["share_popularity"])
                row[f"difference @{one['depth']}"] = (
                    f"{100 * one['difference']:+.1f} [{100 * one['low']:+.1f}, {100 * one['high']:+.1f}]"
                )
        if any(one[SHOWN] is not None for one in card["nights"]):
            row[SHOWN] = night[SHOWN]
        row |= {"played": night[PLAYED], "liked": night[LIKED], "hours": round(night["watch_ms"] / 3.6e6, 1)}
        row |= {"fresh": percent(night["fresh"]), "coverage": percent(night["coverage"])}
        rows.append(row | {"remark": _remark(night)})
    return rows


def rows_of_arms(arms: Sequence[ArmFacts]) -> list[dict[str, Any]]:
    """The experiment's arms as a table for a terminal, each compared with the first one."""
    rows = []
    for arm in arms:
        row: dict[str, Any] = {
            "arm": arm["arm"],
            "share": percent(arm["share"]),
            "users": arm["users"],
            "model": arm["model_version"],
            "nights": arm["nights"],
            "reached": percent(arm["reached"]),
            "liked": percent(arm["reached_liked"]),
            "rows played": None if arm["played"] is None else round(arm["played"], 3),
            "rows liked": None if arm["liked"] is None else round(arm["liked"], 3),
        }
        for name, said in (("reached_liked", "liked"), ("played", "rows played"), ("liked", "rows liked")):
            found = arm["against_first"].get(name)
            scale = 100 if name == "reached_liked" else 1
            ends = (None,) if found is None else (found["estimate"], found["low"], found["high"])
            estimate, *interval = (None if end is None else f"{scale * end:+.2f}" for end in ends)
            row[f"{said} against first"] = (
                None if estimate is None else f"{estimate} [{', '.join(map(str, interval))}]"
            )
        row["remark"] = (
            f"users are not as the shares say (p = {arm['sample_ratio_p']:.2g})"
            if arm["sample_ratio_mismatch"]
            else ""
        )
        rows.append(row)
    return rows


def _remark(night: NightFacts) -> str:
    return "; ".join(night["out_of_band"]) if night["judged"] else "not all played yet"


def percent(share: float | None) -> str | None:
    """The share with one decimal, like `12.3 %`; None stays None."""
    return None if share is None else f"{100 * share:.1f} %"
