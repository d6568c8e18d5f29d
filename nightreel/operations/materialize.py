"""The online store's turn: Feast's values as of the night's instant, for apps that read by key."""

import warnings
from contextlib import redirect_stdout
from datetime import datetime
from io import StringIO

from feature_repo.open_store import store as open_store
from nightreel.core.artefacts import StepRecord, StepResult, fingerprint, fingerprint_of_files
from nightreel.core.checksums import require_as_written
from nightreel.core.disk import full_disk_named
from nightreel.core.settings import Settings
from pipelines.local_days import ALWAYS_KNOWN


def materialize(settings: Settings, as_of: datetime) -> StepResult:
    """Write each key's last values before the instant to the online store; skipped where it has them.

    Raises InputError where a feature source is not as its step wrote it.
    """
    sources = tuple(sorted(settings.paths.features.glob("*.parquet")))
    wrote = (settings.paths.online_store,)
    record = StepRecord(settings.paths.state / "materialize.json")
    current = fingerprint(files=fingerprint_of_files(sources), as_of=as_of.isoformat())
    if record.is_done(current):
        return StepResult("materialize", True, sources, wrote, {})
    require_as_written(sources)
    record.forget()
    store = open_store(codes=False)
    with full_disk_named(settings.paths.online_store), warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        # Everything, not only what is new: a source may have been written again for days gone by.
        store.materialize(start_date=ALWAYS_KNOWN, end_date=as_of)
    record.finish(current, (), {})
    return StepResult("materialize", False, sources, wrote, {})
