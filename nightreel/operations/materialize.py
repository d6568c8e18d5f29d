"""Materialization: brings Feast's online store to the night's instant, for apps that read by key."""

import warnings
from contextlib import redirect_stdout
from datetime import UTC, datetime
from io import StringIO

from feature_repo.home import HomeSqliteOnlineStoreConfig
from feature_repo.online_rows import OnlineRows
from feature_repo.open_store import store as open_store
from nightreel.core.checksums import require_as_written
from nightreel.core.disk import full_disk_named
from nightreel.core.settings.needs import FeatureNeeds
from nightreel.core.steps import Facts, Step, StepResult
from pipelines.local_days import ALWAYS_KNOWN
from scoring.lists.eligibility import default_as_of

_KEPT = "online_rows"


def materialize(settings: FeatureNeeds, as_of: datetime) -> StepResult[Facts]:
    """Write each key's last values before the instant to the online store; skipped if it has them.

    Raises:
        InputError: a feature source is not as its step wrote it.
    """
    sources = tuple(sorted(settings.paths.features.glob("*.parquet")))
    wrote = (settings.paths.online_store,)
    attempt = MATERIALIZE.attempt(settings, sources, force=False, as_of=as_of.isoformat())
    if attempt.known is not None:
        return MATERIALIZE.skipped(sources, wrote, attempt.known)
    require_as_written(sources)
    attempt.begin()
    store = open_store(codes=False)
    # An online store that the user has chosen gets all rows each time.
    is_ours = isinstance(store.config.online_store, HomeSqliteOnlineStoreConfig) and hasattr(
        store.config.offline_store, "known"
    )
    known = OnlineRows(settings.paths.state / _KEPT, settings.paths.online_store) if is_ours else None
    if known is not None:
        known.begin()
        store.config.offline_store.known = known
    with full_disk_named(settings.paths.online_store), warnings.catch_warnings(), redirect_stdout(StringIO()):
        warnings.simplefilter("ignore")
        # Of all days, not only of new ones: a source may have been written again for past days.
        store.materialize(start_date=ALWAYS_KNOWN, end_date=as_of)
    if known is not None:
        known.keep()
    return attempt.finished(sources, wrote, Facts(), outputs=())


MATERIALIZE: Step[Facts] = Step(
    name="materialize",
    does="Bring Feast's online store to the night's instant.",
    reads=lambda settings: (settings.paths.features,),
    writes=lambda settings: (settings.paths.online_store,),
    settings=(),
    facts=Facts,
    run=lambda settings, request: materialize(
        settings, request.as_of or default_as_of(settings.paths, settings.data, datetime.now(UTC))
    ),
)
