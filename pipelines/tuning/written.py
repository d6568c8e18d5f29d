"""The readable results of a study: its table, and its best settings as lines of nightreel.toml."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import tomlkit
from optuna.trial import FrozenTrial

from nightreel.core.artefacts import atomic_write
from nightreel.core.settings.names import expanded
from nightreel.core.settings.old_names import MOVED
from pipelines.tuning.space import FILTER_K, SPACE

Settled = Mapping[str, int | float]


def settled(trial: FrozenTrial) -> dict[str, int | float]:
    """The settings of a trial, filter_k among them."""
    values: dict[str, int | float] = dict(trial.user_attrs["values"])
    return values | {FILTER_K: int(trial.user_attrs["filter_k"])}


def fragment(settings: Settled) -> str:
    """The settings as tables of nightreel.toml."""
    return tomlkit.dumps(expanded(settings))


def with_settings(text: str, settings: Settled) -> str:
    """A nightreel.toml with these settings, replaced if present, else added."""
    for old, new in MOVED.items():
        document = tomlkit.parse(text)
        if new in settings and old in document and not isinstance(document[old], dict):
            # It was set by its old name.
            del document[old]
            text = tomlkit.dumps(document)
    for name, value in settings.items():
        text = _with(text, name, value)
    return text


def _with(text: str, name: str, value: float) -> str:
    document, asked = tomlkit.parse(text), tomllib.loads(text)
    table: Any = document
    plain: Any = asked
    *tables, own = name.split(".")
    for one in tables:
        if one not in table:
            table[one] = tomlkit.table()
        table, plain = table[one], plain.setdefault(one, {})
    table[own] = plain[own] = value
    changed = tomlkit.dumps(document)
    if tomllib.loads(changed) == asked:
        return changed
    # A new table after settings written with dots would cut their table in two.
    lines = text.splitlines(keepends=True)
    end = next((n for n, line in enumerate(lines) if line.lstrip().startswith("[")), len(lines))
    before, after = "".join(lines[:end]), "".join(lines[end:])
    ending = "\n" if before and not before.endswith("\n") else ""
    return f"{before}{ending}{name} = {value!r}\n{after}"


def write_settings(file: Path, settings: Settled) -> None:
    """Put the settings into this nightreel.toml, which is created if missing."""
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    with atomic_write(file) as temporary:
        temporary.write_text(with_settings(text, settings), encoding="utf-8")


def table(trials: Sequence[FrozenTrial]) -> pl.DataFrame:
    """A row a trial in the order in which they were made: its figures, its settings, its trees."""
    return pl.DataFrame(
        [
            {
                "trial": position,
                "mean_ndcg": round(float(trial.values[0]), 5),
                **{f"ndcg@{k}": round(value, 5) for k, value in trial.user_attrs["ndcg"].items()},
                **{name: trial.user_attrs["values"][name] for name in SPACE},
                FILTER_K: trial.user_attrs["filter_k"],
                "classifier_trees": trial.user_attrs["trees"][0],
                "regressor_trees": trial.user_attrs["trees"][1],
            }
            for position, trial in enumerate(trials, start=1)
        ],
        infer_schema_length=None,
    )


def as_markdown(rows: pl.DataFrame) -> str:
    """The table as markdown."""
    lines = [rows.columns, ["---"] * rows.width, *rows.iter_rows()]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)
