"""A home whose ids are text, from its raw files to the lists: Feast and every command speak these ids."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pandas as pd
import polars as pl
import pytest
from feast import FeatureStore, ValueType

from feature_repo.home import REPOSITORY
from nightreel.core import columns
from nightreel.core.errors import InputError
from nightreel.core.settings import Settings, load_settings
from nightreel.operations.forgetting import forget
from nightreel.operations.incoming import merge_deliveries
from nightreel.operations.materialize import materialize
from pipelines.ingest import ingest
from scoring.database.connection import reading
from scoring.outcomes import record_outcomes
from tests.conftest import Nightreel
from tests.fixtures.synthetic_home import make_synthetic_home, publish_night
from tests.fixtures.tables import read_table

SETTINGS = (
    'schedule.max_data_age_hours = 0\nranker.objective = "shown"\ndatabase.keep_runs = 3\n'
    "ranker.lightgbm.num_iterations = 10\nfeatures.als.factors = 4\nthreads = 1\n"
)
AS_OF = datetime(2020, 7, 12, tzinfo=UTC)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """Users are words that begin with a dash, videos end in a quote, authors are names."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("text") / "home"
        made = make_synthetic_home(folder, patch, SETTINGS, users=40, videos=60, plays=3000, days=12)
        for file in made.data.raw_dir.glob("*.csv"):
            frame = pl.read_csv(file, infer_schema=False)
            named = (
                {
                    columns.USER_ID: pl.format("-ü {}", columns.USER_ID),
                    columns.VIDEO_ID: pl.format("{}'", columns.VIDEO_ID),
                    columns.AUTHOR_ID: pl.format("Ms {}", columns.AUTHOR_ID),
                    columns.FRIENDS: pl.col(columns.FRIENDS).str.replace_all(r"(\d+)", "-ü $1"),
                }
                if file.name != columns.ITEM_DAILY_FILE
                else {
                    columns.VIDEO_ID: pl.format("{}'", columns.VIDEO_ID),
                    columns.AUTHOR_ID: pl.format("Ms {}", columns.AUTHOR_ID),
                }
            )
            there = [one.alias(name) for name, one in named.items() if name in frame.columns]
            frame.with_columns(there).write_csv(file)
        ingest(made)
        publish_night(made)
        yield load_settings()


def _plays(settings: Settings) -> pl.DataFrame:
    """The log as it was given."""
    return pl.read_csv(settings.data.raw_dir / columns.BIG_MATRIX_FILE, infer_schema=False)


def test_apps_read_the_ids_of_the_log(home: Settings) -> None:
    users = pl.read_csv(home.data.raw_dir / columns.USER_FEATURES_FILE, infer_schema=False)
    plays = _plays(home)
    with reading(home) as connection:
        rows = connection.exec_driver_sql("SELECT user_id, video_id FROM latest_recommendation").all()
    assert {user for user, _ in rows} == set(users["user_id"])
    assert {video for _, video in rows} <= set(
        pl.read_csv(home.data.raw_dir / columns.CAPTION_FILE, infer_schema=False)["video_id"]
    )
    seen = set(plays.select("user_id", "video_id").iter_rows())
    listed = {(user, video) for user, video in rows}
    assert seen and listed
    assert len(listed & seen) < len(listed)


def test_show_takes_and_gives_them(home: Settings, nightreel: Nightreel) -> None:
    done = nightreel("show", "-ü 3", "--json", "--limit", "3", home=home.home)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)
    assert [row["rank"] for row in rows] == [1, 2, 3]
    captions = pl.read_csv(home.data.raw_dir / columns.CAPTION_FILE, infer_schema=False)
    of_video = dict(captions.select("video_id", "first_level_category_name").iter_rows())
    assert all(row["video_id"].endswith("'") for row in rows)
    for row in rows:
        assert row["first_level_category_name"] in (of_video[row["video_id"]], None)
    unknown = nightreel("show", "-ü  3", home=home.home)
    assert unknown.returncode == 2 and "has no list" in unknown.stderr


def test_feast_joins_materializes_and_serves_by_them(home: Settings) -> None:
    store = FeatureStore(repo_path=str(REPOSITORY))
    assert store.get_entity("user").value_type == ValueType.STRING
    # Counts are known from the end of the business day on.
    day = AS_OF.astimezone(home.data.zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
    counted = _plays(home).unique().filter(pl.col("time").str.to_datetime() < day)
    plays = dict(counted.group_by("user_id").len().iter_rows())
    users = ["-ü 5", "nobody", "-ü 7"]
    rows = pd.DataFrame({"user_id": users, "video_id": ["3'"] * 3, "event_timestamp": [AS_OF] * 3})
    features = ["user_activity:user_agg_interactions", "video_profile:video_duration"]
    job = store.get_historical_features(entity_df=rows, features=features)
    found = job.to_df()
    assert list(found["user_id"]) == users and list(found["video_id"]) == ["3'"] * 3
    counts = [None if pd.isna(one) else int(one) for one in found["user_agg_interactions"]]
    assert counts == [plays["-ü 5"], None, plays["-ü 7"]]
    assert not [name for name in found.columns if "code" in name]
    (batch,) = job.to_arrow_batches()
    assert batch.column("user_id").to_pylist() == users
    assert job.column_names == batch.schema.names
    asked_in_sql = store.get_historical_features(
        entity_df="SELECT user_id, event_timestamp FROM user_activity ORDER BY user_id LIMIT 3",
        features=features[:1],
    ).to_df()
    assert set(asked_in_sql["user_id"]) <= set(_plays(home)["user_id"])
    assert asked_in_sql["user_agg_interactions"].notna().all()
    materialize(home, AS_OF)
    online = store.get_online_features(features=features[:1], entity_rows=[{"user_id": one} for one in users])
    assert online.to_dict()["user_agg_interactions"] == counts
    events = store.get_historical_features(
        entity_df=None, features=features[:1], start_date=datetime(2020, 7, 6, tzinfo=UTC), end_date=AS_OF
    ).to_df()
    assert set(events["user_id"]) <= set(_plays(home)["user_id"]) and len(events)


def test_what_was_made_of_lists_is_counted(home: Settings) -> None:
    """The users of the lists who then play are found again."""
    late = _plays(home).filter(pl.col("user_id") == "-ü 3").head(1)
    video = "59'"
    row = late.with_columns(
        pl.lit(video).alias("video_id"), pl.lit("2020-07-17 01:00:00.000").alias("time")
    ).with_columns(pl.lit("20200717").alias("date"), pl.lit("1594918800").alias("timestamp"))
    folder = home.data.raw_dir / "incoming"
    folder.mkdir(exist_ok=True)
    row.write_csv(folder / "big_matrix_late.csv")
    assert merge_deliveries(home).summary["rows"] == 1
    ingest(home)
    record_outcomes(home)
    with reading(home) as connection:
        nights = connection.exec_driver_sql("SELECT users, rows, videos_listed FROM list_night").all()
    for users, rows, videos in nights:
        assert users == 40 and rows > 0 and 0 < videos <= 60


def test_forget_takes_a_user_out_and_the_id_with_them(home: Settings, nightreel: Nightreel) -> None:
    known = pl.read_parquet(home.paths.ids / "user.parquet")
    code = known.filter(pl.col("id") == "-ü 9")["code"].item()
    done = nightreel("forget", "-ü 9", home=home.home)
    assert done.returncode == 0, done.stderr
    for file in home.home.rglob("*"):
        if file.is_file() and file.suffix in (".csv", ".json", ".parquet"):
            assert "-ü 9," not in file.read_text(errors="replace"), file
    for name in ("interactions", "users"):
        assert code not in read_table(home, name)["user_id"].to_list()
    left = pl.read_parquet(home.paths.ids / "user.parquet")
    assert left["code"].to_list() == known["code"].to_list()
    assert left.filter(pl.col("id").is_null())["code"].to_list() == [code]
    assert "-ü 9" not in left["id"].to_list() and "-ü 90" not in left["id"].to_list()
    with reading(home) as connection:
        users = connection.exec_driver_sql("SELECT DISTINCT user_id FROM recommendation").scalars().all()
    assert "-ü 9" not in users and "-ü 19" in users
    store = FeatureStore(repo_path=str(REPOSITORY))
    features = ["user_activity:user_agg_interactions"]
    online = store.get_online_features(features=features, entity_rows=[{"user_id": "-ü 9"}])
    assert online.to_dict()["user_agg_interactions"] == [None]
    ingest(home, force=True)
    assert code not in read_table(home, "interactions")["user_id"].to_list()
    assert forget(home, "-ü 9").summary["removed"] == "nothing: no row of this user was found"


def test_ids_that_turn_to_text_ask_for_feast_apply(home: Settings) -> None:
    from feature_repo.open_store import store

    moved = home.paths.ids / "video.parquet"
    aside = moved.rename(moved.with_name("aside"))
    try:
        with pytest.raises(
            InputError, match=r"the ids of videos are of another type now\. Run .*feast apply"
        ):
            store()
    finally:
        aside.rename(moved)
