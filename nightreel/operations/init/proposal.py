"""Proposes which column of a log is what, from names and values; what may be two things is asked for."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nightreel.core.errors import InputError
from nightreel.core.log_layout import MS_PER_UNIT, SQL, VALUES, ItemColumn, ItemRole
from nightreel.operations.init.column_names import ROLES_OF_ITEMS, ROLES_OF_PLAYS
from nightreel.operations.init.sample import Asked, Sample, is_number
from pipelines.ingest.decimals import SHOWN
from pipelines.ingest.times import AUTO, DAY, DAY_FIRST, ISO, MONTH_FIRST, SECONDS, UNITS, is_day, recognised

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}.*)?|(19|20)\d{6}")
REQUIRED = ("user", "item", "time")
_LENGTHS = ("play_time", "length")
_FEW, _LONG, _SHOWN = 20, 25, 30
# The values of options that do not name a column.
_CHOICES: Mapping[str, tuple[str, ...]] = {
    "length_unit": tuple(MS_PER_UNIT),
    "value": ("play_time", *VALUES, "none"),
    "time_format": (AUTO, ISO, DAY, DAY_FIRST, MONTH_FIRST, *UNITS),
    "decimal": (".", ","),
}
_TIME = re.compile(r"\d{8}T\d{4}|\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{4}")
_WITH_ZONE = re.compile(r"([zZ]|UTC|GMT|[+-]\d{2}(:?\d{2})?)$")
_IN_MS = re.compile(r"(^|_)(ms|msec|millis|milliseconds)$", re.IGNORECASE)


@dataclass
class Draft:
    """The proposed [data] section.

    Attributes:
        top: how the log is read.
        data: the rest of the section.
        notes: for people.
        form: the section's table `format`.
        targets: the section's table `targets`.
    """

    top: dict[str, Any] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    form: dict[str, Any] = field(default_factory=dict)
    targets: dict[str, Any] = field(default_factory=dict)


def propose(log: str, sample: Sample, given: Mapping[str, str], ask: Asked) -> Draft:
    """Propose how the plays are read.

    Args:
        log: a path or a query.
        given: option name -> value.

    Raises:
        InputError: an option names a column that does not exist.
    """
    draft = Draft()
    _require_choices(given)
    if len(sample.names) == 1:
        raise InputError(
            f"{log}: one column, {sample.names[0][:_SHOWN]}; a log has user, item and time in each row.",
            "If an unusual character separates the columns, give --delimiter.",
        )
    named = _columns(sample, given, ask)
    if objects := [name for name in named.values() if name in sample.nested]:
        raise InputError(
            f"{log}: column {objects[0]} holds objects or lists.", "Write their contents as columns."
        )
    if twice := [name for name in named.values() if sample.names.count(name) > 1]:
        raise InputError(f"{log}: column {twice[0]} is named twice.", "Rename or remove one of the two.")
    plays: dict[str, Any] = {"path": log}
    if not sample.has_header:
        plays["header"] = list(sample.names)
    if sample.delimiter is not None and (len(sample.delimiter) > 1 or "delimiter" in given):
        plays["delimiter"] = sample.delimiter
    if sample.encoding is not None:
        plays["encoding"] = sample.encoding
    if "decimal" in given:
        draft.form["decimal"] = given["decimal"]
    draft.data |= {"plays": plays, "columns": named}
    if written := [name for name in named.values() if name in sample.in_commas]:
        draft.notes.append(f"{', '.join(written)}: {SHOWN}.")
    _add_time(draft, sample, Path("the query" if log.startswith(SQL) else log), given, ask)
    if "watermark" in given:
        if given["watermark"] not in sample.names or not log.startswith(SQL):
            raise InputError(
                f"--watermark {given['watermark']}: no column of a query.",
                f"There are {', '.join(sample.names)}; it is of plays that a query gives.",
            )
        draft.data["watermark"] = given["watermark"]
    elif log.startswith(SQL):
        draft.notes.append(
            f"The whole query is asked each night. Where its rows only come with a later "
            f"{named['time']}, give --watermark {named['time']}: then new rows alone are fetched."
        )
    if any(name in named for name in _LENGTHS) and not all(
        _IN_MS.search(named[name]) for name in _LENGTHS if name in named
    ):
        asked = "In which unit are play time and length?"
        units = list(_CHOICES["length_unit"])
        draft.data["length_unit"] = given.get("length_unit") or ask(asked, "length-unit", units)
    _add_value(draft, sample, given, ask)
    for option, roles in (("event_weights", ("event",)), ("length_unit", _LENGTHS)):
        if option in given and not any(role in named for role in roles):
            raise InputError(
                f"--{option.replace('_', '-')}: no column has that for a play.",
                f"Leave it out, or name the column: --{roles[0].replace('_', '-')}.",
            )
    return draft


def _require_choices(given: Mapping[str, str]) -> None:
    for option, choices in _CHOICES.items():
        if option in given and given[option] not in choices:
            raise InputError(
                f"--{option.replace('_', '-')} {given[option]}: not one of {', '.join(choices)}.",
                "Give one of them.",
            )


def _columns(sample: Sample, given: Mapping[str, str], ask: Asked) -> dict[str, str]:
    named = {}
    for role in ROLES_OF_PLAYS:
        if role in given:
            if given[role] not in sample.names:
                raise InputError(
                    f"--{role.replace('_', '-')} {given[role]}: no such column.",
                    f"There are {', '.join(sample.names)}.",
                )
            named[role] = given[role]
    taken = set(named.values())
    for role in REQUIRED:
        if role not in named:
            named[role] = _required(role, sample, taken, ask)
            taken.add(named[role])
    if any(role in named for role in VALUES) or given.get("value") == "none":
        return named
    found = {role: one for role in (*_LENGTHS, *VALUES) if (one := _candidates(role, sample, taken))}
    has_lengths = all(role in found or role in named for role in _LENGTHS)
    values = [role for role in VALUES if role in found]
    if has_lengths and not values:
        for role in _LENGTHS:
            named.setdefault(role, _one_of(role, found.get(role, []), sample, ask))
    elif values:
        choices = [*values, *(["play_time"] if has_lengths else [])]
        chosen = choices[0]
        if len(choices) > 1:
            chosen = ask("Which column holds a play's value?", "value", choices)
        for role in _LENGTHS if chosen == "play_time" else (chosen,):
            named[role] = _one_of(role, found[role], sample, ask)
    return named


def _candidates(role: str, sample: Sample, taken: set[str]) -> list[str]:
    return [
        name
        for name in dict.fromkeys(sample.names)
        if name not in taken and re.sub(r"[^a-z0-9]", "", name.casefold()) in ROLES_OF_PLAYS[role]
    ]


def _one_of(role: str, names: list[str], sample: Sample, ask: Asked) -> str:
    """The only name, or the answer; the question has the first row."""
    if len(names) == 1:
        return names[0]
    asked = f"{_first_row(sample, names)} Which column is the {role.replace('_', ' ')}?"
    return ask(asked, role.replace("_", "-"), names)


def _first_row(sample: Sample, names: list[str]) -> str:
    first = dict(zip(sample.names, sample.rows[0], strict=True))
    row = ", ".join(f'{name} "{first[name][:_SHOWN]}"' for name in names[:_FEW])
    return f"The first row has {row}."


def _required(role: str, sample: Sample, taken: set[str], ask: Asked) -> str:
    rest = [name for name in sample.names if name not in taken]
    if not rest:
        raise InputError(
            f"No column is left for the {role}: there are {', '.join(sample.names)}.",
            "A log has a user, an item and a time in each row.",
        )
    found = _candidates(role, sample, taken)
    if role == "time":
        found = found or [name for name in rest if _are_times(sample.values(name))]
        if not found:
            asked = f"No column looks like the time of a play. {_first_row(sample, rest)} Which one is it?"
            return ask(asked, "time", rest)
    return _one_of(role, found or rest, sample, ask)


def _are_times(values: list[str]) -> bool:
    least = 1e8  # Unix seconds of 1973
    return bool(values) and all(
        is_day(text) or float(text) >= least if is_number(text) else _TIME.match(text) for text in values
    )


def _add_time(draft: Draft, sample: Sample, path: Path, given: Mapping[str, str], ask: Asked) -> None:
    column = draft.data["columns"]["time"]
    values = sample.values(column)
    if given.get("time_format"):
        draft.form["time"] = time_format = given["time_format"]
    else:
        try:
            time_format = recognised(values, SECONDS, path, column)
        except InputError as error:
            time_format = ask(
                str(error).split(" Set ")[0], "time-format", [DAY_FIRST, MONTH_FIRST, DAY, ISO, *UNITS]
            )
            draft.form["time"] = time_format
    local = [text for text in values if not _WITH_ZONE.search(text[10:])]
    is_local = time_format not in UNITS and bool(local or not values)
    if given.get("time_zone"):
        zone = given["time_zone"]
    elif is_local:
        shown = local[0] if local else "times"
        zone = ask(f'In which time zone is "{shown}", column {column}?', "time-zone", [])
    else:
        zone = "UTC"
        draft.notes.append("Days begin in UTC: set [data] time_zone to where your users live.")
    draft.top["time_zone"] = zone


def _add_value(draft: Draft, sample: Sample, given: Mapping[str, str], ask: Asked) -> None:
    """A play's value, and above which value it is liked."""
    columns = draft.data["columns"]
    threshold = given.get("like_threshold")
    if "event" in columns:
        events = sorted(set(sample.values(columns["event"])))
        text = given.get("event_weights") or ask(
            f"What is the weight of each event? ({', '.join(events[:_FEW])})", "event-weights", []
        )
        draft.data["event_weights"] = _event_weights(text)
    if "rating" in columns and threshold is None:
        ratings = [float(text) for text in sample.values(columns["rating"]) if is_number(text)]
        highest, stars = max(ratings, default=0.0), 5
        threshold = "3.5"
        if highest > stars:
            threshold = ask(
                f"Ratings go up to {highest:g}. Above which is a play liked?", "like-threshold", []
            )
            draft.targets["watch_ratio_clip"] = highest
    if threshold is not None:
        draft.targets["like_threshold"] = _number("like-threshold", threshold)


def _event_weights(text: str) -> dict[str, float]:
    found = {}
    for part in text.split(","):
        name, _, number = part.rpartition("=")
        found[name.strip()] = _number("event-weights", number)
    if "" in found:
        raise InputError(
            f"--event-weights {text}: not like `like=1,click=0.3`.", "Name each event and its weight."
        )
    return found


def _number(option: str, text: str) -> float:
    if not is_number(text):
        raise InputError(f"--{option} {text}: not a number.", "Give a number.")
    return float(text)


def profile_columns(sample: Sample, key: str, *, of_items: bool) -> dict[str, ItemColumn]:
    """The type or role of each column of a file of users or items. Long texts of items may be captions."""
    found: dict[str, ItemColumn] = {}
    for name in sample.names:
        values = sample.values(name)
        if name == key or not values:
            continue
        distinct = len(set(values))
        role = _role(name, values) if of_items else None
        if role is not None and role not in found.values():
            found[name] = role
        elif all(is_number(text) for text in values) and distinct > _FEW:
            found[name] = "numeric"
        elif of_items and distinct > len(values) / 2 and sum(map(len, values)) > _LONG / 2 * len(values):
            found[name] = "text"
        else:
            found[name] = "categorical"
    return found


def _role(name: str, values: list[str]) -> ItemRole | None:
    """What a column of items is by its name, where its values may be that."""
    plain = re.sub(r"[^a-z0-9]", "", name.casefold())
    role = next((one for one, names in ROLES_OF_ITEMS.items() if plain in names), None)
    if role == "upload_date" and not all(_DAY.fullmatch(text) for text in values):
        return None
    return role
