"""On a real Ray cluster features and lists are the local engine's, and a version is trained and registered.

What else holds on a cluster, and what happens if a part of it dies, the slow tests ask: test_features_on_ray,
test_rankers_on_ray and test_on_ray of scoring and of feast_asof.
"""

import shutil
from pathlib import Path
from typing import Any

import pytest

from nightreel.core.settings import Settings
from pipelines import model_registry
from pipelines.features import build_aggregates, pieces
from pipelines.rankers import train
from scoring.database.publish import score_and_publish
from tests.fixtures.published_home import shown_lists, shown_shared
from tests.fixtures.scored_home import AS_OF, SHARED, make_scored_home


def _sources(settings: Settings) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(settings.paths.features.iterdir())}


def test_features_and_lists_are_those_of_the_local_engine_and_a_version_is_trained(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Every part is cut, small as it is.
    monkeypatch.setattr(pieces, "PIECE_ROWS_MIN", 10)
    local = make_scored_home(tmp_path / "local", monkeypatch).changed(SHARED)
    on_ray = local.changed({"home": tmp_path / "ray", "cluster.engine": "ray"})
    assert pieces.number_of_pieces(100, on_ray.cluster) > 1
    shutil.copytree(local.home, on_ray.home)
    score_and_publish(local, as_of=AS_OF, publish=True)

    monkeypatch.setenv("NIGHTREEL_HOME", str(on_ray.home))
    assert not build_aggregates(on_ray, force=True).skipped
    assert _sources(on_ray) == _sources(local)

    score_and_publish(on_ray, as_of=AS_OF, publish=True)
    assert shown_lists(on_ray) == shown_lists(local)
    assert shown_shared(on_ray) == shown_shared(local)
    # What made the lists is no part of what they depend on.
    assert score_and_publish(on_ray.changed({"cluster.engine": "local"}), as_of=AS_OF, publish=True).skipped

    # Few and small trees: at each split of one the workers wait for each other.
    before = model_registry.champion(on_ray.paths)
    small_trees = {"ranker.lightgbm.num_iterations": 3, "ranker.lightgbm.num_leaves": 4}
    result = train(on_ray.changed(small_trees))
    assert not result.skipped and result.summary["version"] != before.version
    manifest = model_registry.find(on_ray.paths, result.summary["version"]).manifest
    assert manifest["settings"]["cluster.engine"] == "ray"
    assert manifest["features"] == before.manifest["features"]
    assert min(manifest["trees"].values()) >= 1
    assert set(manifest["metrics"]) == set(before.manifest["metrics"])
    assert not list(on_ray.paths.shared.iterdir())
