"""On a real Ray cluster the tables are the local engine's: of features, of their join and of lists.

What else holds on a cluster, and what happens if a part of it dies, the slow tests ask: test_features_on_ray,
test_rankers_on_ray and test_on_ray of scoring and of feast_asof.
"""

import shutil
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from feature_repo.open_store import store
from nightreel.core import columns
from nightreel.core.settings import Settings
from pipelines.features import build_aggregates, pieces
from pipelines.training_frame import entity_table
from scoring.database.publish import score_and_publish
from tests.fixtures.published_home import shown_lists, shown_shared
from tests.fixtures.scored_home import AS_OF, SHARED, make_scored_home
from tests.fixtures.tables import read_table


def _sources(settings: Settings) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(settings.paths.features.iterdir())}


def test_features_their_join_and_lists_are_those_of_the_local_engine(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Every part is cut, small as it is.
    monkeypatch.setattr(pieces, "PIECE_ROWS_MIN", 10)
    local = make_scored_home(tmp_path / "local", monkeypatch).changed(SHARED)
    on_ray = local.changed({"home": tmp_path / "ray", "cluster.engine": "ray"})
    assert pieces.number_of_pieces(100, on_ray.cluster) > 1
    shutil.copytree(local.home, on_ray.home)
    assert not build_aggregates(on_ray, force=True).skipped
    assert _sources(on_ray) == _sources(local)

    plays = entity_table(read_table(local, "interactions"))
    pq.write_table(plays, tmp_path / "plays.parquet", row_group_size=1_000)
    features = [f"{columns.USER_ACTIVITY}:user_agg_interactions", f"{columns.ALS_SCORE}:{columns.ALS_SCORE}"]
    job = store().get_historical_features(entity_df=str(tmp_path / "plays.parquet"), features=features)
    found = pa.concat_tables(job.to_ray_dataset().iter_batches(batch_size=None, batch_format="pyarrow"))
    by = [(name, "ascending") for name in (columns.EVENT_TIMESTAMP, columns.USER_ID, columns.VIDEO_ID)]
    assert found.sort_by(by).equals(job.to_arrow().sort_by(by))

    for settings in (local, on_ray):
        score_and_publish(settings, as_of=AS_OF, publish=True)
    assert shown_lists(on_ray) == shown_lists(local)
    assert shown_shared(on_ray) == shown_shared(local)
    # What made the lists is no part of what they depend on.
    assert score_and_publish(on_ray.changed({"cluster.engine": "local"}), as_of=AS_OF, publish=True).skipped
    assert not list(on_ray.paths.shared.glob("*/users-*.parquet"))
