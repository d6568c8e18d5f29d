"""Past nights are made as they would have been known then: stored, counted, resumed, never shown."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from pydantic import SecretStr
from sqlalchemy import select

from nightreel.core import columns
from nightreel.core.settings import Settings
from nightreel.operations.backfill import backfill
from pipelines import model_registry
from scoring.database.connection import reading
from scoring.database.history import list_runs
from scoring.database.publish import score_and_publish
from scoring.database.tables import list_night, recommendation
from scoring.outcomes import record_outcomes
from scoring.outcomes.scorecard import scorecard
from tests.conftest import Nightreel
from tests.fixtures.published_home import shown_rows
from tests.fixtures.scored_home import DAYS, make_scored_home
from tests.fixtures.small_log import FIRST_DAY, midnight
from tests.fixtures.tables import read_table, write_table

pytestmark = pytest.mark.one_database

# The rankers were fitted on plays before the last three days: what backtest_days asks for.
LAST = FIRST_DAY + timedelta(days=DAYS - 1)
BEFORE = LAST - timedelta(days=1)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with pytest.MonkeyPatch.context() as patch:
        yield make_scored_home(tmp_path_factory.mktemp("backfill") / "home", patch)


@pytest.fixture
def scored(home: Settings, database_url: str | None, tmp_path: Path) -> Settings:
    """The home's settings with a database of this test's own."""
    url = database_url or f"sqlite:///{tmp_path / 'lists.sqlite'}"
    return home.changed({"database.url": SecretStr(url)})


def rows_of(settings: Settings, run_id: int) -> list[tuple[Any, ...]]:
    """A run's lists without its number."""
    with reading(settings) as connection:
        query = select(recommendation).where(recommendation.c.run_id == run_id)
        ordered = query.order_by(recommendation.c.user_id, recommendation.c.rank)
        return [tuple(row)[1:] for row in connection.execute(ordered)]


def test_past_nights_are_stored_and_counted_and_never_shown(scored: Settings, nightreel: Nightreel) -> None:
    score_and_publish(scored)
    before = shown_rows(scored)
    environment = {"NIGHTREEL_DATABASE_URL": scored.sqlalchemy_url}
    days = ("--from", BEFORE.isoformat(), "--to", LAST.isoformat())
    done = nightreel("backfill", *days, home=scored.home, **environment)
    assert done.returncode == 0, done.stderr
    assert shown_rows(scored) == before
    last, first, night = list_runs(scored)
    for run, day in ((first, BEFORE), (last, LAST)):
        assert (run["status"], run["replay"], run["shown"]) == ("stored", True, False)
        assert run["as_of"] == midnight(day)
        # 02:00 in Shanghai, when the night's job is due.
        assert run["known_at"] == midnight(day) + timedelta(hours=2)
    assert night["shown"]
    card = json.loads(nightreel("scorecard", "--replays", "--json", home=scored.home, **environment).stdout)
    assert [one["run_id"] for one in card["nights"]] == [3, 2]
    plays = read_table(scored, "interactions")
    users = {row[0] for row in rows_of(scored, 3)}
    stamp = pl.col(columns.EVENT_TIMESTAMP)
    of_day = plays.filter((stamp >= midnight(LAST)) & (stamp < midnight(LAST + timedelta(days=1))))
    assert card["nights"][0]["plays"] == of_day.filter(pl.col(columns.USER_ID).is_in(users)).height
    assert [one["plays"] for one in scorecard(scored)["nights"]] == [0]
    again = nightreel("backfill", *days, home=scored.home, **environment)
    assert again.returncode == 0 and "nothing to do" in again.stdout


def test_what_was_stopped_goes_on_and_a_pruned_night_is_not_made_again(scored: Settings) -> None:
    few = scored.changed({"database.keep_runs": 1})
    assert backfill(few, BEFORE, BEFORE).summary["made"] == 1
    result = backfill(few, BEFORE, LAST)
    assert (result.summary["made"], result.summary["there before"]) == (1, 1)
    assert any("keep_runs" in remark for remark in result.summary["remarks"])
    assert len(list_runs(few)) == 2
    score_and_publish(few)  # prunes
    assert [run["as_of"] for run in list_runs(few) if run["replay"]] == [midnight(LAST)]
    assert backfill(few, BEFORE, LAST).summary["made"] == 0
    with reading(few) as connection:
        nights = select(list_night.c.as_of).where(~list_night.c.shown).order_by(list_night.c.as_of)
        assert list(connection.execute(nights).scalars()) == [midnight(BEFORE), midnight(LAST)]
    assert backfill(few, BEFORE, BEFORE, force=True).summary["made"] == 1


def test_a_past_night_is_that_of_score_as_of(scored: Settings) -> None:
    (run_id,) = backfill(scored, LAST, LAST).summary["runs"]
    known_at = midnight(LAST) + timedelta(hours=2)
    other = score_and_publish(scored, as_of=midnight(LAST), known_at=known_at, replay=True, force=True)
    assert rows_of(scored, run_id) == rows_of(scored, other.summary["run_id"])


def test_days_that_every_model_has_seen_are_refused_but_for_a_named_model(
    scored: Settings, nightreel: Nightreel
) -> None:
    honest, early = LAST - timedelta(days=2), LAST - timedelta(days=3)
    environment = {"NIGHTREEL_DATABASE_URL": scored.sqlalchemy_url}
    days = ("--from", early.isoformat(), "--to", LAST.isoformat())
    refused = nightreel("backfill", *days, home=scored.home, **environment)
    assert refused.returncode == 2 and f"those before {honest}" in refused.stderr
    assert len(refused.stderr.splitlines()) == 1
    version = model_registry.champion_name(scored.paths)
    result = backfill(scored, early, early, model_version=version)
    assert any("figures are too good" in remark for remark in result.summary["remarks"])
    record_outcomes(scored)


@pytest.mark.parametrize(
    ("days", "said"),
    [
        (("--from", "2020-07-13", "--to", "2020-07-12"), "the first day is after the last"),
        (("--from", "2020-07-12", "--to", "2999-01-01"), "in the future"),
        (("--from", "12 July", "--to", "2020-07-13"), "not a day"),
    ],
)
def test_wrong_days_are_one_line(
    home: Settings, nightreel: Nightreel, days: tuple[str, ...], said: str
) -> None:
    done = nightreel("backfill", *days, home=home.home)
    assert done.returncode == 2 and said in done.stderr and len(done.stderr.splitlines()) == 1


def test_what_arrived_after_the_night_has_no_part_in_it(tmp_path: Path) -> None:
    """Plays of the day before that were delivered at noon: the night at 02:00 did not know them."""
    with pytest.MonkeyPatch.context() as patch:
        settings = make_scored_home(tmp_path / "home", patch)
        late = (pl.col(columns.EVENT_TIMESTAMP) >= midnight(BEFORE)) & (
            pl.col(columns.EVENT_TIMESTAMP) < midnight(LAST)
        )
        arrived = pl.when(late).then(pl.lit(midnight(LAST) + timedelta(hours=12)))
        start = pl.lit(datetime(1970, 1, 1, tzinfo=UTC))
        plays = read_table(settings, "interactions").with_columns(
            arrived.otherwise(start).cast(pl.Datetime("us", "UTC")).alias(columns.CREATED_TIMESTAMP)
        )
        write_table(settings, "interactions", plays)
        backfill(settings, LAST, LAST)
        (run,) = list_runs(settings)
        assert run["known_at"] == midnight(LAST) + timedelta(hours=2)
        (night,) = scorecard(settings, replays=True)["nights"]
        known = plays.filter(~late & (pl.col(columns.EVENT_TIMESTAMP) < midnight(LAST)))
        with reading(settings) as connection:
            newest = connection.exec_driver_sql("SELECT newest_play_at FROM recommendation_run").scalar_one()
        assert datetime.fromisoformat(newest) == known[columns.EVENT_TIMESTAMP].max()
        assert night["as_of"] == midnight(LAST)


def test_no_model_is_one_line(tmp_path: Path, nightreel: Nightreel) -> None:
    done = nightreel("backfill", "--from", "2020-07-12", "--to", "2020-07-12", home=tmp_path)
    assert done.returncode == 2 and "no model yet" in done.stderr and len(done.stderr.splitlines()) == 1
