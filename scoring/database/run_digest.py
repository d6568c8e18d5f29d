"""The inputs of a run's lists: files, models, settings, exclusions, and what was known."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path

from nightreel.core.artefacts import fingerprint, fingerprint_of_files
from nightreel.core.settings.needs import NightNeeds
from pipelines.labels import LABEL_SETTINGS
from scoring.lists.arms import Arm
from scoring.lists.eligibility import Exclusions

# What lists that are not a user's depend on, beside their inputs.
SHARED_LIST_SETTINGS = ("lists.shared",)
# The same of all lists.
LIST_SETTINGS = (
    "data.time_zone",
    # Read by the fits of the candidate sources.
    *LABEL_SETTINGS,
    "data.targets.watch_ratio_clip",
    "seed",
    "lists.top_k",
    "ranker.filter_k",
    "retrieval.candidates",
    "lists.exclude",
    "lists.max_per",
    "retrieval.sources",
    "retrieval.source_k",
    "ranker.last_stage",
    "lists.diversity",
    "lists.repeat_discount",
    "lists.explore_share",
    *SHARED_LIST_SETTINGS,
)


def digest_of_run(
    settings: NightNeeds,
    read: tuple[Path, ...],
    arms: Sequence[Arm],
    instant: datetime,
    exclusions: Exclusions,
    *,
    salt: str | None,
    knew: Mapping[str, datetime | None],
) -> str:
    """The digest of a run's inputs: two runs that have the same one publish the same lists.

    Args:
        salt: of the experiment, which assigns users to the arms; None without one.
        knew: instants that decide what was known.
    """
    return fingerprint(
        knew=dict(knew),
        files=fingerprint_of_files(read),
        model=arms[0].model.version,
        salt=salt,
        arms=[[one.name, one.share, one.model.version, dict(one.changes)] for one in arms],
        as_of=instant.isoformat(),
        settings=settings.chosen(LIST_SETTINGS),
        exclusions={
            "blocklist": exclusions.blocklist.tolist(),
            "skip_user": exclusions.skip_user.tolist(),
            "repeats": None if exclusions.repeats is None else exclusions.repeats.after_run,
            "rules": [vars(rule) for rule in exclusions.rules if rule.is_in_force(instant)],
        },
    )
