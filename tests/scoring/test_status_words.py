"""The status in words: whatever is wrong, the lines say what apps read and end with what to type."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nightreel.core.settings import Settings
from nightreel.operations.status import DUE, FRESH, REPLAY, STALE, STALE_DATA, Status
from nightreel.operations.status_words import in_words

NOW = datetime(2026, 11, 30, 3, tzinfo=UTC)
DUE_AT = NOW - timedelta(hours=1)


@dataclass
class Case:
    """A state with what is unusual of it, what the words say, and the line that ends them."""

    state: str
    words: str
    end: str
    night: dict[str, Any] | None = None
    shown: bool = True
    lives: bool = True
    more: dict[str, Any] = field(default_factory=dict)


def night(status: str, **facts: Any) -> dict[str, Any]:
    return {"due_at": DUE_AT, "status": status, "run_id": None, "attempts": 1, "error": None} | facts


CASES = [
    Case(
        FRESH,
        "All is well. Apps read run 7: 800 users",
        "Next: nothing to do. The next night is due at 2026-12-01 02:00 UTC (in 23 h).",
    ),
    Case(
        FRESH,
        "The outcome of the last lists is unusual: reach fell.",
        "Next: nightreel scorecard",
        more={"out_of_band": ["reach fell"]},
    ),
    Case(
        FRESH,
        "A clock was wrong: run 9 is of 2030.",
        "Next: nightreel doctor",
        more={"after_now": ["run 9 is of 2030"]},
    ),
    Case(
        DUE,
        "tonight's list is being made, and has time until 2026-11-30 08:00 UTC",
        "Next: wait, then nightreel status",
        night("running"),
    ),
    Case(
        STALE,
        "Last night failed: The disk is full.",
        "Next: mend that, then nightreel schedule --once",
        night("failed", error="The disk is full"),
    ),
    Case(STALE, "someone went back", "Next: nightreel rollback 9", night("done", run_id=9)),
    Case(
        STALE,
        "late but still running, try 3",
        "Next: wait, then nightreel status",
        night("running", attempts=3),
    ),
    Case(
        STALE,
        "The scheduler is not running",
        "Next: start it (nightreel schedule), or make the list now: nightreel schedule --once",
        lives=False,
    ),
    Case(STALE, "No night was made when it was due.", "Next: nightreel schedule --once"),
    Case(
        STALE_DATA,
        "its newest play is 3 days old; [schedule] max_data_age_hours allows 48 h",
        "nightreel schedule --once",
    ),
    Case(REPLAY, "Apps read a replay", "Next: nightreel schedule --once"),
    Case(STALE, "nothing was ever published", "Next: nightreel run", shown=False),
    Case(
        STALE,
        "the night failed. No plays.",
        "Next: mend that, then nightreel schedule --once",
        night("failed", error="No plays."),
        shown=False,
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[f"{case.state}: {case.words[:24]}" for case in CASES])
def test_the_words_say_what_is_wrong_and_what_to_type(case: Case, tmp_path: Any) -> None:
    shown = {
        "run_id": 7,
        "users": 800,
        "as_of": NOW - timedelta(hours=9),
        "published_at": NOW - timedelta(hours=25),
        "newest_play_at": NOW - timedelta(days=3),
    }
    facts = {
        "state": case.state,
        "last_due": DUE_AT,
        "next_due": DUE_AT + timedelta(days=1),
        "shown": shown if case.shown else None,
        "night": case.night,
        "scheduler": {"alive": case.lives},
    }
    lines = in_words(
        Status(case.state, facts | case.more),
        (made := Settings.model_validate({"home": tmp_path})).data,
        made.schedule,
        NOW,
    )
    assert case.words in " ".join(lines)
    assert lines[-1].startswith("Next: ") and lines[-1].endswith(case.end)
