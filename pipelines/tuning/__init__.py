"""The tuning step: which settings of the rankers rank best, found by trials on this home's own data."""

from pathlib import Path

from feature_repo.open_store import store as open_store
from nightreel.core.artefacts import StepResult, atomic_write, fingerprint, fingerprint_of_files
from nightreel.core.settings import Settings, settings_file
from pipelines.rankers.training import SETTINGS as TRAINING_SETTINGS
from pipelines.rankers.training_data import sources
from pipelines.training_frame import service_features
from pipelines.tuning.objective import Objective
from pipelines.tuning.space import FILTER_K, SPACE, as_set
from pipelines.tuning.study import Study, alone
from pipelines.tuning.written import as_markdown, fragment, settled, table, write_settings

__all__ = ["tune"]

# What a study finds, and what does not touch it.
_FOUND = {*SPACE, FILTER_K}
_FIXED = (TRAINING_SETTINGS - _FOUND - {"ranker.lambdamart_plays", "threads"}) | {
    "evaluation.test_sample",
    "evaluation.tuning_share",
}
BEST = "best.toml"


def tune(settings: Settings, *, trials: int, minutes: float, write: bool = False) -> StepResult:
    """Make trials of the rankers' settings, and write the study's table and its best settings.

    The study goes on where it was stopped. trials: of the whole study. minutes: of this run. write: put the
    best settings into nightreel.toml. Raises InputError where features are missing or nothing can be
    measured, BusyError where another process tunes here.
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
            file = settings_file(settings)
            write_settings(file, best)
            wrote = (*wrote, file)
    rows = table(study.finished())
    summary = {
        "trials": rows.height,
        "made now": rows.height - made_before,
        "NDCG, mean of @10 and @100": {"as set": rows["mean_ndcg"][0], "best": rows["mean_ndcg"].max()},
        "best settings": best,
    }
    return StepResult("tune", False, (*read, observed), wrote, summary)


def _write(study: Study, places: tuple[Path, ...]) -> None:
    rows = table(study.finished())
    texts = (rows.write_csv(), as_markdown(rows), fragment(settled(study.best())))
    for path, text in zip(places, texts, strict=True):
        with atomic_write(path) as temporary:
            temporary.write_text(text, encoding="utf-8")
