"""The tuning step: which settings of the rankers rank best, found by trials on this home's own data."""

from pathlib import Path
from typing import Any

from pydantic import Field

from feature_repo.open_store import store as open_store
from nightreel.core.artefacts import atomic_write, fingerprint, fingerprint_of_files
from nightreel.core.settings import settings_file
from nightreel.core.settings.needs import RankerNeeds
from nightreel.core.steps import Facts, StepResult
from pipelines.rankers.training import TRAIN
from pipelines.rankers.training_data import sources
from pipelines.training_frame import service_features
from pipelines.tuning.objective import Objective
from pipelines.tuning.space import FILTER_K, SPACE, as_set
from pipelines.tuning.study import Study, alone
from pipelines.tuning.written import as_markdown, fragment, settled, table, write_settings

__all__ = ["tune"]

# The settings that a study searches, and those that its trials keep.
_FOUND = {*SPACE, FILTER_K}
_FIXED = (set(TRAIN.settings) - _FOUND - {"threads"}) | {"evaluation.tuning_share"}
BEST = "best.toml"


class TuneFacts(Facts):
    """The trials of the study and of this run, the mean NDCG as set and at best, and the best settings."""

    trials: int
    made_now: int = Field(serialization_alias="made now")
    mean_ndcg: dict[str, Any] = Field(serialization_alias="NDCG, mean of @10 and @100")
    best: dict[str, Any] = Field(serialization_alias="best settings")


def tune(settings: RankerNeeds, *, trials: int, minutes: float, write: bool = False) -> StepResult[TuneFacts]:
    """Make trials of the rankers' settings, and write the study's table and its best settings.

    The study continues where it was stopped.

    Args:
        trials: of the whole study.
        minutes: of this run.
        write: whether to put the best settings into nightreel.toml.

    Raises:
        InputError: if features are missing or nothing can be measured.
        BusyError: if another process tunes here.
    """
    read = sources(settings)
    observed = settings.paths.table("fully_observed")
    files = fingerprint_of_files((*read, observed))
    name = fingerprint(
        files=files,
        settings=settings.chosen(_FIXED),
        space={key: str(searched) for key, searched in SPACE.items()},
        features=service_features(open_store()),
    )
    folder = settings.paths.tuning
    wrote = tuple(folder / file for file in ("trials.csv", "trials.md", BEST))
    with alone(folder / "lock"):
        study = Study(folder / "journal.log", name, seed=settings.seed, first=as_set(settings))
        made_before = len(study.finished())
        if made_before < trials:
            objective = Objective.prepare(settings)
            study.run(objective.measure, trials=trials, minutes=minutes, after=lambda now: _write(now, wrote))
        best = settled(study.best())
        _write(study, wrote)
        if write:
            file = settings_file(settings.paths)
            write_settings(file, best)
            wrote = (*wrote, file)
    rows = table(study.finished())
    facts = TuneFacts(
        trials=rows.height,
        made_now=rows.height - made_before,
        mean_ndcg={"as set": rows["mean_ndcg"][0], "best": rows["mean_ndcg"].max()},
        best=best,
    )
    return StepResult("tune", False, (*read, observed), wrote, facts)


def _write(study: Study, positions: tuple[Path, ...]) -> None:
    rows = table(study.finished())
    texts = (rows.write_csv(), as_markdown(rows), fragment(settled(study.best())))
    for path, text in zip(positions, texts, strict=True):
        with atomic_write(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
