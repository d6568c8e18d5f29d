"""Earlier names of settings: understood for one version, with one warning.

MOVED: the new name of each. DROPPED: settings that no longer exist, and what applies instead.
"""

import multiprocessing
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import structlog

from nightreel.core.errors import InputError
from nightreel.core.settings.names import toml_name


def _of_tables(section: str, table: str, names: Iterable[str]) -> dict[str, str]:
    """Settings that are now keys of a table in their section, by their names with and without the section."""
    return {old: f"{section}.{table}.{name}" for name in names for old in (name, f"{section}.{name}")}


MOVED: Mapping[str, str] = {
    **{
        name: f"data.{name}"
        for name in (
            "raw_dir",
            "source_url",
            "time_zone",
            "max_reject_share",
        )
    },
    "data": "data",
    "home_url": "home",
    "raw_url": "data.raw_dir",
    "data.raw_url": "data.raw_dir",
    "data.worth": "data.event_weights",
    "feature_modules": "features.modules",
    **{
        old: f"features.als.{name}"
        for name in ("factors", "refit_days")
        for old in (f"als_{name}", f"features.als_{name}")
    },
    "retrieval_sources": "retrieval.sources",
    **{name: f"retrieval.{name}" for name in ("source_k", "candidates")},
    **{
        name: f"ranker.{name}"
        for name in (
            "objective",
            "filter_k",
            "last_stage",
        )
    },
    "trees": "ranker.lightgbm.num_iterations",
    "early_stopping_trees": "ranker.lightgbm.early_stopping_round",
    "learning_rate": "ranker.lightgbm.learning_rate",
    "leaves": "ranker.lightgbm.num_leaves",
    "min_leaf_plays": "ranker.lightgbm.min_data_in_leaf",
    "tree_features": "ranker.lightgbm.feature_fraction",
    "leaf_regularization": "ranker.lightgbm.lambda_l2",
    "regressor_learning_rate": "ranker.regressor.learning_rate",
    "lists_in_feast": "lists.in_feast",
    **{name: f"lists.{name}" for name in ("top_k",)},
    "database_url": "database.url",
    "keep_runs": "database.keep_runs",
    "schedule": "schedule.cron",
    "schedule_zone": "schedule.zone",
    "retrain_schedule": "schedule.retrain",
    **{
        name: f"schedule.{name}"
        for name in (
            "job_limit_minutes",
            "on_failure",
            "max_data_age_hours",
        )
    },
    **_of_tables("data", "targets", ("like_threshold", "long_view_s", "label", "watch_ratio_clip")),
    **_of_tables("data", "format", ("delimiter", "decimal", "encoding", "quote", "text_ids")),
    "time_format": "data.format.time",
    "data.time_format": "data.format.time",
    **_of_tables("lists", "shared", ("related_k", "popular_k", "segments")),
    **_of_tables("database", "audits", ("min_share_of_last_run", "max_changed_lists")),
    **{
        old: f"lists.{new}"
        for name, new in (
            ("exclude_seen", "exclude.seen"),
            ("exclude_seen_days", "exclude.seen_days"),
            ("exclude_not_public", "exclude.not_public"),
            ("exclude_advertisements", "exclude.advertisements"),
            ("max_video_age_days", "exclude.max_age_days"),
            ("max_per_author", "max_per.author"),
            ("max_per_category", "max_per.category"),
        )
        for old in (name, f"lists.{name}")
    },
    "metrics_port": "schedule.metrics_address",
    "schedule.metrics_port": "schedule.metrics_address",
    **{name: f"cluster.{name}" for name in ("engine", "ray_address", "shared_dir")},
    **{
        name: f"evaluation.{name}"
        for name in (
            "holdout_days",
            "backtest_days",
            "tuning_share",
        )
    },
    "browse_password": "browse.password",
    "browse_thumbnail_url": "browse.thumbnail_url",
}

_ORIGINAL = "`evaluate` has no protocol as-published; `python benchmarks/as_published.py HOME` measures it"
_OF_LARGE_LOGS = "or a sample of them if a log has more than 16 million plays"
_FROM_SECTIONS: Mapping[str, str] = {
    "data.like_quantile": "it is always 0.8",
    "features.als_iterations": "it is always 5",
    "features.als_regularization": "it is always 15",
    "features.als_model": "it is always `biased`",
    "features.pair_views": "the views are built where [features] modules names `pair_views`",
    "retrieval.als_search": "name `als_approximate` in [retrieval] candidates to have faiss search",
    "retrieval.candidate_k": "it is always four times [ranker] filter_k, or [lists] top_k where that is more",
    "retrieval.fresh_days": "it is always 7",
    "ranker.train_sample": f"all users train the rankers, {_OF_LARGE_LOGS}",
    "ranker.training_nights": "it is 3, and more for a log of at most a million plays",
    "ranker.training_users": "it is 5000, and fewer where more nights are learnt from",
    "ranker.tree_rows": "it is always 500000",
    "lists.repeat_nights": "it is always 3",
    "lists.repeat_ranks": "it is always 20",
    "lists.explore_after": "it is always 10",
    "lists.explore_among": "it is always 50",
    "lists.explore_temperature": "it is always 1",
    "lists.user_block_rows": "it is always 256",
    "database.keep_replays": "as many stored replays are kept as [database] keep_runs says",
    "schedule.grace_hours": "it is always 20",
    "schedule.metrics_host": "it is part of [schedule] metrics_address, as in `0.0.0.0:9095`",
    "schedule.stage_retries": "it is always 5",
    "schedule.stop_within_s": "it is always 60",
    "evaluation.backtest_users": "it is always 1000",
    "evaluation.test_sample": f"all users are evaluated, {_OF_LARGE_LOGS}",
}
DROPPED: Mapping[str, str] = {
    **_FROM_SECTIONS,
    # From before there were sections.
    **{name.partition(".")[2]: instead for name, instead in _FROM_SECTIONS.items()},
    "schedule_grace_hours": _FROM_SECTIONS["schedule.grace_hours"],
    "home_wait_s": "it is always 30",
    "work_dir": "the working folders of homes at URLs are below XDG_CACHE_HOME, or /var/tmp",
    "smoothing_plays": "it is always 20",
    "als_refit_iterations": "it is always 2",
    "category_plays": "it is always 2870, where [ranker.lightgbm] has no cat_smooth and cat_l2",
    "loaders": "it is always 4",
    "retry_wait_s": "it is always 10",
    "cold_plays": "it is always 20",
    "lambdamart_plays": "`train` fits no model that never scores",
    "as_published_plays": _ORIGINAL,
    "as_published_trees": _ORIGINAL,
}
# Dropped settings that nothing replaces unasked: the value that changes nothing, and what to write otherwise.
_ACTED: Mapping[str, tuple[str, str]] = {
    "als_search": ("exact", "Write `als_approximate` instead of `als` in [retrieval] candidates."),
    "pair_views": ("false", 'Add "pair_views" to [features] modules.'),
}

_to_say: list[str] = []
_said: set[str] = set()


def with_new_names(values: Mapping[str, Any], file: object) -> dict[str, Any]:
    """A file's values with each setting in its section.

    Args:
        file: its path, for the warning.

    Raises:
        InputError: a setting is given both by its old name and in its section.
    """
    found: dict[str, Any] = {}
    old: dict[str, Any] = {}
    for name, value in values.items():
        if isinstance(value, dict):
            inner = {
                own: one
                for own, one in value.items()
                if f"{name}.{own}" not in MOVED and f"{name}.{own}" not in DROPPED
            }
            old |= {f"{name}.{own}": one for own, one in value.items() if own not in inner}
            found[name] = inner
        # [data] and [schedule] are sections, and were settings.
        elif name in MOVED or name in DROPPED:
            old[name] = value
        else:
            found[name] = value
    moved = []
    for name, value in old.items():
        if name in DROPPED:
            drop(f"{file}: `{toml_name(name)}`", name, value)
            continue
        _put(found, MOVED[name], value, name)
        moved.append(f"`{toml_name(name)}` is now `{toml_name(MOVED[name])}`")
    if moved:
        remember(f"{file}: {', '.join(moved)}")
    return found


def _put(found: dict[str, Any], new: str, value: Any, old: str) -> None:
    *tables, own = new.split(".")
    inner = found
    for table in tables:
        # What was read is not changed.
        inner[table] = dict(inner.get(table, {}))
        inner = inner[table]
    if own in inner:
        raise InputError(
            f"Setting `{toml_name(old)}`: it is set twice, by its old name and as `{toml_name(new)}`.",
            "Keep one of them.",
        )
    inner[own] = value


def drop(where: str, name: str, value: Any) -> None:
    """Keep the warning that this setting is dropped.

    Args:
        where: the setting, for people.

    Raises:
        InputError: it has a value that would silently stop acting.
    """
    harmless, remedy = _ACTED.get(name.rpartition(".")[2], (None, ""))
    if harmless is not None and str(value).casefold() != harmless:
        raise InputError(f"{where} is no longer a setting.", f"{remedy} Remove the old line.")
    remember(f"{where} is no longer a setting: {DROPPED[name]}")


def remember(line: str) -> None:
    """Keep a warning for `warn_once`."""
    if line not in _said and line not in _to_say:
        _to_say.append(line)


def warn_once() -> None:
    """Warn about old names in one line, once per process; processes of a pool stay silent."""
    if not _to_say:
        return
    line = f"{'; '.join(_to_say)}. Old names are understood in this version for the last time."
    _said.update(_to_say)
    _to_say.clear()
    if multiprocessing.parent_process() is not None:
        return
    if structlog.is_configured():
        structlog.get_logger(module=__name__).warning(line)
    else:
        print(line, file=sys.stderr)
