"""The lists that are not a user's, of past nights: by the code that publishes them."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nightreel.core.artefacts import fingerprint
from nightreel.core.settings.needs import NightNeeds
from pipelines.backtest_files import POPULAR, RELATED, shared_file
from pipelines.labels import LengthBuckets
from scoring.backtest.night import PastNight
from scoring.backtest.writing import is_made, write_shared
from scoring.database.run_digest import SHARED_LIST_SETTINGS
from scoring.lists.shared.night import shared_lists


def make_shared(
    night: PastNight, inputs: Mapping[str, Any], settings: NightNeeds, buckets: LengthBuckets, *, force: bool
) -> list[Path]:
    """Make a night's related and popular lists, those that the settings ask for; returns their files."""
    kinds = {RELATED: settings.lists.shared.related_k, POPULAR: settings.lists.shared.popular_k}
    files = {kind: shared_file(settings.paths, night.day.day, kind) for kind, k in kinds.items() if k}
    of_files = fingerprint(**inputs, shared=settings.chosen(SHARED_LIST_SETTINGS), day=night.day.as_of)
    if force or not all(is_made(path, of_files) for path in files.values()):
        made = shared_lists(night.candidates.video_id, night.day.as_of, settings, buckets, plays=night.plays)
        for one in made:
            write_shared(files[one.kind], of_files, one.rows)
    return list(files.values())
