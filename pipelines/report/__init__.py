"""One self-contained page of the evaluation: the verdict, tables, curves, samples, the run."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any, cast

import polars as pl

from nightreel.core import columns
from nightreel.core.artefacts import atomic_write
from nightreel.core.errors import InputError
from nightreel.core.logs import get_logger
from nightreel.core.play_days import scan_days, table_exists
from nightreel.core.settings import Paths, Settings, describe
from nightreel.core.settings.needs import DatabaseNeeds
from nightreel.core.steps import Facts, Step, StepResult
from pipelines import model_registry
from pipelines.evaluate import EVALUATE, SAMPLES
from pipelines.evaluate.facts import SampleRow
from pipelines.ingest.raw_files import EXPOSURES
from pipelines.rankers.importances import importances_file, read_importances
from pipelines.report.headline import headline
from pipelines.report.history import HISTORY, keep, past, record_of
from pipelines.report.page import Content, page
from pipelines.report.sequence_curve import newest_fit
from pipelines.report.verdict import verdict

__all__ = ["REPORT", "report"]

_log = get_logger(__name__)


class ReportFacts(Facts):
    """The verdict in a sentence, the number of figures, and the model that they are of."""

    verdict: str
    figures: int
    model: str


def report(settings: Settings, *, force: bool = False) -> StepResult[ReportFacts]:
    """Write `report.html`, `report.json` and `report.csv` from the last evaluation to `data/report`.

    `history.jsonl` beside them keeps each report's headline figures, for what changed since the last one.

    Raises:
        InputError: if nothing was evaluated yet.
    """
    evaluation = settings.paths.evaluation
    model = model_registry.champion(settings.paths)
    needed = (evaluation / "metrics.json", evaluation / SAMPLES, importances_file(model.folder))
    for path in needed:
        if not path.is_file():
            raise InputError(f"{path}: missing.", "Run `nightreel evaluate` first.")
    sequence = newest_fit(settings.paths)
    read = (*needed, *([] if sequence is None else [sequence]))
    wrote = _pages(settings)
    folder = wrote[0].parent
    shown = [row for row in describe(settings) if row["setting"] not in _PATHS]
    attempt = REPORT.attempt(settings, read, force=force, shown=shown, model=model.version)
    if attempt.known is not None:
        return REPORT.skipped(read, wrote, attempt.known)
    attempt.begin()
    text = read[0].read_text(encoding="utf-8")
    records = _with_new_names(json.loads(text))
    figures = pl.DataFrame(records, infer_schema_length=None)
    facts = EVALUATE.last_facts(settings)
    found = headline(figures, facts, settings.data.targets.label)
    now = record_of(
        found,
        figures,
        digest=hashlib.sha256(text.encode()).hexdigest()[:16],
        model=model.version,
        settings={row["setting"]: row["value"] for row in shown if row["setting"] in _ASKED},
    )
    before = past(folder / HISTORY, now.digest)
    said = verdict(found, now, before[-1] if before else None)
    content = Content(
        figures=figures,
        label=settings.data.targets.label,
        headline=found,
        verdict=said,
        records=[*before, now],
        importances=read_importances(model.folder),
        sequence=sequence,
        samples=_with_captions(json.loads(read[1].read_text(encoding="utf-8")), settings.paths),
        facts=facts,
        model=dict(model.manifest),
        settings=shown,
        data=_data(settings.paths),
        stages=_stages(settings.paths),
    )
    with atomic_write(wrote[0]) as temporary:
        temporary.write_text(page(content), encoding="utf-8")
    with atomic_write(wrote[1]) as temporary:
        shutil.copyfile(read[0], temporary)
    with atomic_write(wrote[2]) as temporary:
        content.figures.write_csv(temporary)
    keep(folder / HISTORY, content.records)
    written = ReportFacts(verdict=said.is_better, figures=len(records), model=model.version)
    return attempt.finished(read, wrote, written, outputs=wrote)


def _pages(settings: DatabaseNeeds) -> tuple[Path, ...]:
    return tuple(settings.paths.data / "report" / f"report.{kind}" for kind in ("html", "json", "csv"))


# The meaning of figures depends on these settings: reports that differ in them are not compared.
_ASKED = {
    "data.targets.like_threshold",
    "data.targets.long_view_s",
    "data.time_zone",
}
# Earlier names of metrics, which an evaluation by an older nightreel has.
_OLD_METRICS = {"share_of_places": "share_of_list"}
# A report may be passed on, so it says nothing of the machine that made it.
_PATHS = {
    "home",
    "home_url",
    "data.raw_dir",
    "data.raw_url",
    "cluster.shared_dir",
    "features.modules",
    "database.url",
    "cluster.ray_address",
}


def _with_captions(samples: list[SampleRow], paths: Paths) -> list[SampleRow]:
    """The rows, each with the video's caption and category where the log has them."""
    path = paths.table("video_captions")
    if not samples or not path.is_file():
        return samples
    requested = [columns.CAPTION, columns.CATEGORY_NAMES[0]]
    known = [name for name in requested if name in pl.read_parquet_schema(path)]
    captions = pl.read_parquet(path, columns=[columns.VIDEO_ID, *known])
    rows = pl.DataFrame(samples).join(
        captions.with_columns(pl.col(columns.VIDEO_ID).cast(pl.Int64)),
        on=columns.VIDEO_ID,
        how="left",
        maintain_order="left",
    )
    return cast(list[SampleRow], rows.to_dicts())


def _with_new_names(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The records with metrics of an earlier nightreel under their present names."""
    old = sorted({record["metric"] for record in records} & _OLD_METRICS.keys())
    if old:
        now = ", ".join(f"{name} is now {_OLD_METRICS[name]}" for name in old)
        _log.warning(f"metrics.json: {now}; old names are understood in this version for the last time")
    return [record | {"metric": _OLD_METRICS.get(record["metric"], record["metric"])} for record in records]


def _data(paths: Paths) -> list[dict[str, Any]]:
    """Each table's rows, users and videos, and its first and last instant."""
    rows = []
    tables = {path.stem: pl.scan_parquet(path) for path in paths.tables.glob("*.parquet")}
    of_days = (paths.interactions, paths.video_daily, paths.tables / EXPOSURES.table)
    tables |= {folder.name: scan_days(folder) for folder in of_days if table_exists(folder)}
    for name_of_table, table in sorted(tables.items()):
        names = table.collect_schema()
        asked = [pl.len().alias("rows")]
        for key, name in ((columns.USER_ID, "users"), (columns.VIDEO_ID, "videos")):
            asked.append(pl.col(key).n_unique().alias(name) if key in names else pl.lit(None).alias(name))
        instant = columns.EVENT_TIMESTAMP
        for name, of in (("first", pl.col(instant).min()), ("last", pl.col(instant).max())):
            asked.append((of.cast(pl.String) if instant in names else pl.lit(None)).alias(name))
        rows.append({"table": name_of_table, **table.select(asked).collect().to_dicts()[0]})
    return rows


def _stages(paths: Paths) -> list[dict[str, Any]]:
    """Seconds and peak memory of each stage's last run, where the command line has noted them."""
    path = paths.state / "timings.json"
    try:
        found: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return []
    return [{"stage": stage, **values} for stage, values in found.items()]


REPORT: Step[ReportFacts] = Step(
    name="report",
    does="Write the last evaluation as one page, with JSON and CSV beside it.",
    reads=lambda settings: (settings.paths.evaluation, settings.paths.models, settings.paths.retrieval),
    writes=_pages,
    settings=(),
    also="all but paths, as the page shows their values",
    facts=ReportFacts,
    run=lambda settings, request: report(settings, force=request.force),
)
