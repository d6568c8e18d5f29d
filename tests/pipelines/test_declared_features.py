"""What `[data]` declares of columns of users and items reaches features and candidates, in time."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from nightreel.core.catalogue import catalogue_of
from nightreel.core.settings import Settings, load_settings
from nightreel.operations.incoming import merge_deliveries
from pipelines.evaluate.catalogue import upload_days
from pipelines.features import build_aggregates
from pipelines.features.user_text import build_user_text
from pipelines.ingest import ingest
from pipelines.model_rows.listable import known_videos

TOML = """time_zone = "UTC"
features.als.refit_days = 3
features.als.factors = 3
[data]
plays = "plays.csv"
[data.columns]
user = "who"
item = "what"
time = "at"
[data.users]
path = "users.csv"
[data.user_columns]
bio = "text"
[data.items]
path = "items.csv"
[data.item_columns]
genre = "category"
by = "author"
out = "upload_date"
"""
FIRST = datetime(2026, 3, 1, tzinfo=UTC)
ITEMS = "what,genre,by,out\n1,war,Ann,2026-02-01\n2,war,Bob,2026-02-01\n3,love,Ann,2026-03-04\n4,love,Bob,\n"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Videos 1 and 2 are played, 3 is uploaded on the fourth day, of 4 nothing says when."""
    monkeypatch.setenv("NIGHTREEL_HOME", str(tmp_path))
    times = [(FIRST + timedelta(hours=hour)).isoformat() for hour in range(24 * 8)]
    plays = [f"{n % 6},{n % 2 + 1},{time}" for n, time in enumerate(times)]
    (tmp_path / "plays.csv").write_text("who,what,at\n" + "\n".join(plays) + "\n")
    bios = ["likes dogs", "likes cats", "likes dogs, cats", "cats", "dogs", ""]
    (tmp_path / "users.csv").write_text("who,bio\n" + "".join(f'{n},"{bio}"\n' for n, bio in enumerate(bios)))
    (tmp_path / "items.csv").write_text(ITEMS)
    (tmp_path / "nightreel.toml").write_text(TOML)
    settings = load_settings()
    ingest(settings)
    return settings


def test_groups_and_uploads_of_items_count_from_their_day_on(home: Settings) -> None:
    build_aggregates(home)
    night = FIRST + timedelta(days=6)
    found = known_videos(home.paths, home.data, night)
    assert found["video_id"].to_list() == [1, 2, 3]
    authors, genres = found["author"].to_list(), found["first_level_category"].to_list()
    assert authors[0] == authors[2] != authors[1]
    assert genres[0] == genres[1] != genres[2]
    uploaded = datetime(2026, 3, 4, tzinfo=UTC)
    assert found["uploaded_us"][2] == uploaded.timestamp() * 1e6
    # Known when its day is over, and not before.
    assert 3 not in known_videos(home.paths, home.data, uploaded + timedelta(hours=23))["video_id"].to_list()
    assert 3 in known_videos(home.paths, home.data, uploaded + timedelta(hours=24))["video_id"].to_list()
    assert upload_days(home.paths).collect().height == 3


def test_text_of_users_becomes_features_that_do_not_see_what_comes_later(home: Settings) -> None:
    view = catalogue_of(home.data, home.features).view("declared_user_text")
    assert set(view.names) <= {
        name for _, names in catalogue_of(home.data, home.features).ranked for name in names
    }
    assert not build_user_text(home).skipped
    path = home.paths.feature_source("declared_user_text")
    before = pl.read_parquet(path)
    assert view.conformed(before).height == 6
    values = before.select(view.names).to_numpy()
    assert np.isnan(values[5]).all() and not np.isnan(values[:5]).any()
    assert np.allclose(values[4], values[4]) and not np.allclose(values[3], values[4])
    assert build_user_text(home).skipped
    incoming = home.data.raw_dir / "incoming"
    incoming.mkdir(parents=True)
    (incoming / "users-2.csv").write_text("who,bio\n3,now of dogs dogs dogs\n7,horses\n")
    merge_deliveries(home)
    ingest(home)
    build_user_text(home)
    after = pl.read_parquet(path)
    stamp = before["event_timestamp"][0]
    assert after.filter(pl.col("event_timestamp") == stamp).equals(before)
    assert after.filter(pl.col("event_timestamp") > stamp)["user_id"].to_list() == [3, 7]
