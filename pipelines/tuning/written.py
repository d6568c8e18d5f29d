"""What a study leaves for people: its table, and its best settings as lines of nightreel.toml."""

import re
import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path

import polars as pl
from optuna.trial import FrozenTrial

from nightreel.core.artefacts import atomic_write
from pipelines.tuning.space import SPACE

Settled = Mapping[str, int | float]


def settled(trial: FrozenTrial) -> dict[str, int | float]:
    """The settings of a trial, filter_k among them."""
    values: dict[str, int | float] = dict(trial.user_attrs["values"])
    return values | {"filter_k": int(trial.user_attrs["filter_k"])}


def fragment(settings: Settled) -> str:
    """The settings as lines of nightreel.toml."""
    return "".join(f"{name} = {value!r}\n" for name, value in settings.items())


def with_settings(text: str, settings: Settled) -> str:
    """A nightreel.toml with these settings: its lines replaced, what it lacks appended."""
    missing = dict(settings)
    lines = text.splitlines()
    # What stands below a section's name belongs to the section.
    end = next((n for n, line in enumerate(lines) if line.lstrip().startswith("[")), len(lines))
    for number, line in enumerate(lines[:end]):
        found = re.match(r"\s*([A-Za-z_]+)\s*=", line)
        if found and found[1] in missing:
            lines[number] = f"{found[1]} = {missing.pop(found[1])!r}"
    before, after = ("".join(f"{line}\n" for line in some) for some in (lines[:end], lines[end:]))
    changed = before + fragment(missing) + after
    tomllib.loads(changed)
    return changed


def write_settings(file: Path, settings: Settled) -> None:
    """Put the settings into this nightreel.toml, which is made where there is none."""
    text = file.read_text(encoding="utf-8") if file.is_file() else ""
    with atomic_write(file) as temporary:
        temporary.write_text(with_settings(text, settings), encoding="utf-8")


def table(trials: Sequence[FrozenTrial]) -> pl.DataFrame:
    """A row a trial in the order in which they were made: its figures, its settings, its trees."""
    return pl.DataFrame(
        [
            {
                "trial": place,
                "mean_ndcg": round(float(trial.values[0]), 5),
                **{f"ndcg@{k}": round(value, 5) for k, value in trial.user_attrs["ndcg"].items()},
                **{name: trial.user_attrs["values"][name] for name in SPACE},
                "filter_k": trial.user_attrs["filter_k"],
                "classifier_trees": trial.user_attrs["trees"][0],
                "regressor_trees": trial.user_attrs["trees"][1],
            }
            for place, trial in enumerate(trials, start=1)
        ],
        infer_schema_length=None,
    )


def as_markdown(rows: pl.DataFrame) -> str:
    """The table as markdown."""
    lines = [rows.columns, ["---"] * rows.width, *rows.iter_rows()]
    return "".join("| " + " | ".join(map(str, line)) + " |\n" for line in lines)
