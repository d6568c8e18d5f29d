"""Features that tasks of a real Ray cluster work out, by day and by key, are one machine's, to the byte."""

from pathlib import Path
from typing import Any

import pytest

from nightreel.core.settings import Settings
from pipelines.features import build_aggregates, pieces
from tests.fixtures.small_log import make_log, settings_for


def _sources(settings: Settings) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(settings.paths.features.iterdir())}


@pytest.mark.slow
def test_sources_are_those_of_the_local_engine_on_the_first_night_and_the_next(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Every part is cut, small as it is: it has a hundred rows.
    monkeypatch.setattr(pieces, "PIECE_ROWS_MIN", 10)
    log = make_log(5, plays=3_000)
    local, on_ray = (
        settings_for(tmp_path / engine, **{"cluster.engine": engine}) for engine in ("local", "ray")
    )
    assert pieces.number_of_pieces(100, on_ray.cluster) > 1
    for plays in (1_600, 3_000):
        for settings in (local, on_ray):
            log.with_interactions(log.interactions.head(plays)).write(settings)
            build_aggregates(settings)
        assert _sources(on_ray) == _sources(local)
