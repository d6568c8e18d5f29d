"""Two clocks: a night again has what had arrived by that night, whatever was delivered and trained since."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
from sqlalchemy import select, update

from feature_repo.open_store import store
from nightreel.core import columns
from nightreel.core.settings import Settings
from nightreel.operations import doctor
from nightreel.operations.night import night_stages, retrain_stages
from nightreel.operations.status import FRESH, STALE_DATA, status
from pipelines.ingest import ingest
from scoring.database.connection import reading, sql_engine
from scoring.database.history import list_runs
from scoring.database.publish import score_and_publish
from scoring.database.tables import recommendation, recommendation_run
from tests.conftest import Nightreel
from tests.fixtures.synthetic_home import make_synthetic_home, publish_night
from tests.fixtures.tables import read_table

SETTINGS = (
    "ranker.lightgbm.num_iterations = 10\nfeatures.als.factors = 4\nevaluation.backtest_days = 1\n"
    "threads = 1\nlists.top_k = 5\nranker.filter_k = 20\n"
    # The objective whose lists depend on most of what a night knows: sources are learnt for each again.
    'ranker.objective = "next_day"\nretrieval.sources = "als,ease_played,recent_2d"\n'
)
Rows = list[tuple[object, ...]]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A first night; then deliveries of every kind, a second night and a training."""
    folder = tmp_path_factory.mktemp("knowledge")
    with pytest.MonkeyPatch.context() as patch:
        settings = make_synthetic_home(folder, patch, SETTINGS, users=40, videos=80, plays=4_000, days=14)
        ingest(settings)
        publish_night(settings)
        _deliver(settings)
        for stage in [*night_stages(settings), *retrain_stages(settings)]:
            stage.work()
        yield settings


def _deliver(settings: Settings) -> None:
    """Late plays, other attributes of every user, other texts and categories, corrected records."""
    incoming = settings.data.raw_dir / "incoming"
    incoming.mkdir()

    def raw(name: str) -> pl.DataFrame:
        return pl.read_csv(settings.data.raw_dir / f"{name}.csv", infer_schema=False)

    late = (
        raw("big_matrix")
        .tail(300)
        .with_columns(
            (pl.col("timestamp").cast(pl.Float64) - 3 * 86_400).cast(pl.String).alias("timestamp"),
            pl.lit(None, dtype=pl.String).alias("time"),
            pl.lit("4.5").alias("watch_ratio"),
        )
    )
    late.write_csv(incoming / "big_matrix_late.csv")
    users = raw("user_features")
    turned = users.with_columns(pl.all().exclude("user_id").reverse())
    pl.concat([turned, users.tail(1).with_columns(pl.lit("987654").alias("user_id"))]).write_csv(
        incoming / "user_features_new.csv"
    )
    captions = raw("kuairec_caption_category")
    captions.with_columns(pl.all().exclude("video_id").reverse()).write_csv(
        incoming / "kuairec_caption_category_new.csv"
    )
    daily = raw("item_daily_features")
    daily.tail(daily.height // 2).with_columns(pl.lit("7").alias("like_cnt")).write_csv(
        incoming / "item_daily_features_new.csv"
    )


def _rows(settings: Settings, run_id: int) -> Rows:
    of_run = select(recommendation).where(recommendation.c.run_id == run_id)
    with reading(settings) as connection:
        found = connection.execute(of_run.order_by(recommendation.c.user_id, recommendation.c.rank)).all()
    return [tuple(row)[1:] for row in found]


def _newest(settings: Settings) -> Rows:
    return _rows(settings, list_runs(settings)[0]["run_id"])


def _run(settings: Settings, run_id: int) -> dict[str, object]:
    return next(run for run in list_runs(settings) if run["run_id"] == run_id)


def test_a_run_again_gives_its_rows_back_after_deliveries_and_training(
    home: Settings, nightreel: Nightreel
) -> None:
    first = _rows(home, 1)
    assert first
    done = nightreel("score", "--replay", "1", "--force", home=home.home)
    assert done.returncode == 0, done.stderr
    assert _newest(home) == first
    assert not (home.paths.data / "replay").exists()


def test_an_instant_and_a_model_alone_give_the_night_of_that_run_again(
    home: Settings, nightreel: Nightreel
) -> None:
    run = _run(home, 1)
    as_of, known_at = (run[name] for name in ("as_of", "known_at"))
    assert isinstance(as_of, datetime) and isinstance(known_at, datetime)
    chosen = ["--as-of", as_of.isoformat(), "--model", str(run["model_version"]), "--known-at"]
    done = nightreel("score", *chosen, known_at.isoformat(), "--force", home=home.home)
    assert done.returncode == 0, done.stderr
    assert _newest(home) == _rows(home, 1)
    # What arrived later tells, where it is let in.
    done = nightreel("score", *chosen, datetime.now(UTC).isoformat(), "--force", home=home.home)
    assert done.returncode == 0, done.stderr
    assert _newest(home) != _rows(home, 1)


def test_the_night_after_a_delivery_knows_it(home: Settings) -> None:
    assert _rows(home, 2) != _rows(home, 1)
    first, second = _run(home, 1), _run(home, 2)
    assert isinstance(first["known_at"], datetime) and isinstance(second["known_at"], datetime)
    assert first["known_at"] < second["known_at"]
    assert second["users"] == 41  # the new one has no play and a list of popular videos
    # Nothing has arrived since: its own sources serve, and give it again. Both nights are of one instant, and
    # a replay of the first may be the newest run of it, so what the second knew is named.
    instant, known_at = second["as_of"], second["known_at"]
    assert isinstance(instant, datetime) and isinstance(known_at, datetime)
    score_and_publish(
        home, as_of=instant, known_at=known_at, model_version=str(second["model_version"]), force=True
    )
    assert _newest(home) == _rows(home, 2)


@pytest.mark.parametrize(
    ("view", "key", "feature"),
    [
        (columns.USER_PROFILE, columns.USER_ID, columns.USER_CATEGORICALS[0]),
        (columns.VIDEO_PROFILE, columns.VIDEO_ID, columns.CATEGORY_LEVELS[0]),
        (columns.VIDEO_TEXT, columns.VIDEO_ID, columns.TEXT_FEATURES[0]),
    ],
)
def test_profiles_and_texts_are_those_that_had_arrived(
    home: Settings, view: str, key: str, feature: str
) -> None:
    """Through Feast, as training joins them: before the arrival what was said before."""
    source = pl.read_parquet(home.paths.feature_source(view)).filter(pl.col(feature).is_not_null())
    arrived = source[columns.EVENT_TIMESTAMP].max()
    assert isinstance(arrived, datetime) and arrived.year > 2020
    keys = source.filter(pl.col(columns.EVENT_TIMESTAMP) == arrived)[key]
    found = []
    for instant in (arrived - timedelta(microseconds=1), arrived):
        entities = keys.to_frame().with_columns(pl.lit(instant).alias(columns.EVENT_TIMESTAMP)).to_arrow()
        job = store().get_historical_features(entity_df=entities, features=[f"{view}:{feature}"])
        found.append(job.to_arrow()[feature].to_pylist())
    assert found[0] != found[1]
    first = source.filter(pl.col(columns.EVENT_TIMESTAMP) < arrived).group_by(key).agg(pl.col(feature).last())
    assert (
        found[0] == keys.to_frame().join(first, on=key, how="left", maintain_order="left")[feature].to_list()
    )


def test_a_replay_says_that_a_raw_file_has_changed_since(
    home: Settings, nightreel: Nightreel, tmp_path: Path
) -> None:
    """Rows of a raw file count as known from the start; plays after the night cannot have a part in it."""
    copy = tmp_path / "home"
    shutil.copytree(home.home, copy)
    raw = copy / "raw" / "big_matrix.csv"
    newest = pl.read_csv(raw, infer_schema=False).tail(5).with_columns(watch_ratio=pl.lit("3.5"))

    def replay_after(*, shifted_days: int) -> tuple[str, str]:
        """What a replay of the first run prints after such plays were appended."""
        at = pl.col("timestamp").cast(pl.Float64) + shifted_days * 86_400
        more = newest.with_columns(at.cast(pl.String).alias("timestamp"), pl.lit(None).alias("time"))
        raw.write_text(raw.read_text() + more.write_csv(include_header=False))
        for command in (["ingest"], ["features"], ["score", "--replay", "1", "--force"]):
            done = nightreel(*command, home=copy)
            assert done.returncode == 0, done.stderr
        return done.stdout, done.stderr

    for said in replay_after(shifted_days=14):
        assert "has changed" not in said
    for said in replay_after(shifted_days=-3):
        assert "The raw file big_matrix.csv has changed since that night knew it" in said
    # Once found, it is not forgotten: neither by an ingest anew nor for a dry run.
    assert nightreel("ingest", "--force", home=copy).returncode == 0
    assert nightreel("features", home=copy).returncode == 0
    done = nightreel("score", "--replay", "1", "--dry-run", home=copy)
    assert done.returncode == 0 and "big_matrix.csv has changed" in done.stdout
    # The next night's own list is of what is there now.
    done = nightreel("score", "--force", home=copy)
    assert done.returncode == 0 and "has changed" not in done.stdout + done.stderr


def test_options_of_a_replay_that_do_not_go_together_are_refused(
    home: Settings, nightreel: Nightreel
) -> None:
    for options in (
        ["--replay", "1", "--model", "x"],
        ["--known-at", "2026-01-01T00:00:00Z"],
        ["--replay", "77"],
        ["--as-of", "2020-07-12T00:00:00Z", "--known-at", "yesterday"],
    ):
        done = nightreel("score", *options, home=home.home)
        assert done.returncode == 2, done.stderr
        assert "Traceback" not in done.stderr


def test_a_list_of_old_plays_is_stale_data_for_all_who_ask(home: Settings, nightreel: Nightreel) -> None:
    """The newest play is of 2020: `status`, its exit code and doctor say so, unless that is meant."""
    score_and_publish(home)
    file = home.home / "nightreel.toml"
    for line, state, code in (
        ("", "stale data", 1),
        ('schedule.max_data_age_hours = "none"\n', "fresh", 0),
        ("schedule.max_data_age_hours = 0\n", "fresh", 0),
    ):
        file.write_text(SETTINGS + line, encoding="utf-8")
        done = nightreel("status", home=home.home)
        assert done.stdout.startswith(f"state: {state}\n"), done.stdout
        assert done.returncode == code
    file.write_text(SETTINGS, encoding="utf-8")
    limited = home.changed({"schedule.max_data_age_hours": 48.0})
    found = doctor.freshness(limited, datetime.now(UTC))
    assert found.state == "wrong" and "stale data" in found.found and "2020-" in found.found
    assert "max_data_age_hours = 0" in found.remedy


def test_data_is_stale_once_its_newest_play_is_older_than_the_limit(home: Settings) -> None:
    newest = read_table(home, "interactions")["event_timestamp"][-1]
    by_age = home.changed({"schedule.max_data_age_hours": 48.0})
    # A run counts for no instant before it was published.
    with sql_engine(home).begin() as connection:
        connection.execute(update(recommendation_run).values(published_at=newest + timedelta(hours=48)))
    for age, state in ((timedelta(hours=48), FRESH), (timedelta(hours=48, microseconds=1), STALE_DATA)):
        assert status(by_age, newest + age).state == state
