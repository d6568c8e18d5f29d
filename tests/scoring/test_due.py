"""When a job is due: each time on the wall once, also on the days on which clocks change."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from nightreel.core.errors import InputError
from nightreel.core.settings import load_settings
from nightreel.operations.due import last_due, latest_due, next_due

NEW_YORK, SHANGHAI = ZoneInfo("America/New_York"), ZoneInfo("Asia/Shanghai")
DAY = timedelta(days=1)


def _all_due(cron: str, zone: ZoneInfo, first: datetime, days: int) -> list[str]:
    """What `next_due` gives from one to the next, as local times with their offset."""
    found, now = [], first
    while (due := next_due(cron, zone, now)) is not None and due < first + days * DAY:
        found.append(due.astimezone(zone).strftime("%d %H:%M%z"))
        now = due
    return found


def test_two_at_night_in_shanghai() -> None:
    now = datetime(2020, 8, 15, 10, tzinfo=SHANGHAI)
    assert latest_due("0 2 * * *", SHANGHAI, now, DAY) == datetime(2020, 8, 14, 18, tzinfo=UTC)
    assert next_due("0 2 * * *", SHANGHAI, now) == datetime(2020, 8, 15, 18, tzinfo=UTC)


def test_the_instant_itself_is_due_and_the_moment_before_is_not() -> None:
    due = datetime(2020, 8, 14, 18, tzinfo=UTC)
    assert latest_due("0 2 * * *", SHANGHAI, due, DAY) == due
    assert next_due("0 2 * * *", SHANGHAI, due) == due + DAY
    before = due - timedelta(microseconds=1)
    assert latest_due("0 2 * * *", SHANGHAI, before, timedelta(hours=20)) is None
    assert last_due("0 2 * * *", SHANGHAI, before) == due - DAY


def test_of_many_missed_only_the_last_is_due() -> None:
    now = datetime(2020, 8, 15, 10, 7, tzinfo=UTC)
    assert latest_due("*/5 * * * *", SHANGHAI, now, 2 * DAY) == datetime(2020, 8, 15, 10, 5, tzinfo=UTC)


def test_missed_by_more_than_the_grace_is_due_no_more() -> None:
    now = datetime(2020, 8, 15, 18, tzinfo=UTC)
    assert latest_due("0 2 * * mon", SHANGHAI, now, timedelta(hours=20)) is None
    assert last_due("0 2 * * mon", SHANGHAI, now) == datetime(2020, 8, 9, 18, tzinfo=UTC)


@pytest.mark.parametrize(
    ("cron", "due"),
    [
        ("0 2 1 1 *", datetime(2025, 12, 31, 18, tzinfo=UTC)),
        ("0 2 29 2 *", datetime(2024, 2, 28, 18, tzinfo=UTC)),
    ],
)
def test_a_job_of_once_a_year_or_less_was_due_too(cron: str, due: datetime) -> None:
    assert last_due(cron, SHANGHAI, datetime(2026, 11, 29, 16, tzinfo=UTC)) == due


@pytest.mark.parametrize("cron", ["30 2 * * *", "0 2 * * *", "30 1 * * *", "0 3 * * *"])
@pytest.mark.parametrize("change", [datetime(2021, 3, 14, tzinfo=UTC), datetime(2021, 11, 7, tzinfo=UTC)])
def test_once_a_day_on_days_when_clocks_change(cron: str, change: datetime) -> None:
    dues = _all_due(cron, NEW_YORK, change - DAY, 4)
    assert len(dues) == len({due[:2] for due in dues}) == 4


def test_a_time_that_does_not_exist_comes_when_it_would_have_been() -> None:
    first = datetime(2021, 3, 13, 12, tzinfo=NEW_YORK)
    assert _all_due("30 2 * * *", NEW_YORK, first, 2) == ["14 03:30-0400", "15 02:30-0400"]


def test_a_time_that_comes_twice_is_due_the_first_time() -> None:
    first = datetime(2021, 11, 6, 12, tzinfo=NEW_YORK)
    assert _all_due("30 1 * * *", NEW_YORK, first, 2) == ["07 01:30-0400", "08 01:30-0500"]


def test_minute_by_minute_over_a_change_each_night_is_seen_once() -> None:
    """What a scheduler that asks every minute finds: one new due instant a day."""
    for change in (datetime(2021, 3, 13, tzinfo=UTC), datetime(2021, 11, 6, tzinfo=UTC)):
        seen = {
            latest_due("30 2 * * *", NEW_YORK, change + timedelta(minutes=minute), timedelta(hours=20))
            for minute in range(3 * 24 * 60)
        }
        nights = sorted(night.astimezone(NEW_YORK).date() for night in seen - {None} if night)
        assert len(nights) == len(set(nights)) == len(seen - {None})
        assert 3 <= len(nights) <= 4


def test_an_expression_that_never_comes_is_never_due() -> None:
    assert next_due("0 2 30 feb *", SHANGHAI, datetime(2020, 8, 15, tzinfo=UTC)) is None
    assert last_due("0 2 30 feb *", SHANGHAI, datetime(2020, 8, 15, tzinfo=UTC)) is None


@pytest.mark.parametrize(
    ("name", "value", "why"),
    [
        ("SCHEDULE", "at two", "Wrong number of fields"),
        ("SCHEDULE", "0 25 * * *", "25"),
        ("RETRAIN_SCHEDULE", "0 5 * * 0", "weekdays as names"),
        ("SCHEDULE", "0 2 \uff11 * *", "ASCII"),
        ("SCHEDULE_ZONE", "Mars/Olympus", "time zone"),
    ],
)
def test_a_schedule_that_cannot_be_read_is_refused(
    name: str, value: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"NIGHTREEL_{name}", value)
    with pytest.raises(InputError, match=why):
        load_settings()


@pytest.mark.parametrize(
    ("cron", "days"),
    [
        ("0 2 1 * mon", ["01", "07", "14", "21", "28"]),
        ("0 2 31 2 mon", []),
        ("0 2 1,15 * sat-sun", ["01", "05", "06", "12", "13", "15", "19", "20", "26", "27"]),
        # A field that begins with a star restricts nothing by itself: both must hold.
        ("0 2 */10 * mon", ["21"]),
        ("0 2 * * mon", ["07", "14", "21", "28"]),
        ("0 2 1 * *", ["01"]),
    ],
)
def test_a_day_of_the_month_and_a_weekday_are_due_on_either_as_in_cron(cron: str, days: list[str]) -> None:
    found = _all_due(cron, ZoneInfo("UTC"), datetime(2020, 9, 1, tzinfo=UTC), 30)
    assert [due[:2] for due in found] == days


@pytest.mark.parametrize("name", ["NIGHTREEL_SCHEDULE_CRON", "NIGHTREEL_SCHEDULE_RETRAIN"])
@pytest.mark.parametrize("cron", ["0 2 31 2 *", "0 2 30-31 feb *", "0 2 31 4,6,9,11 *"])
def test_a_schedule_that_never_comes_is_refused(
    name: str, cron: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, cron)
    with pytest.raises(InputError, match="never occurs"):
        load_settings()


def test_the_29th_of_february_comes() -> None:
    now = datetime(2021, 3, 1, tzinfo=UTC)
    assert next_due("0 2 29 2 *", ZoneInfo("UTC"), now) == datetime(2024, 2, 29, 2, tzinfo=UTC)
