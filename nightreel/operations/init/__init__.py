"""`nightreel init`: looks at a log, proposes its settings, and writes nightreel.toml."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from nightreel.core.artefacts import atomic_write
from nightreel.core.errors import InputError
from nightreel.core.log_layout import SQL
from nightreel.core.settings import SETTINGS_FILE
from nightreel.operations.init.examples import EXAMPLES, example
from nightreel.operations.init.preview import understood
from nightreel.operations.init.proposal import Draft, profile_columns, propose
from nightreel.operations.init.sample import Asked, Sample, sample_of
from nightreel.operations.init.settings_text import text_of_settings
from pipelines.ingest.formats import Form

__all__ = ["EXAMPLES", "Draft", "draft_of", "require_new", "rows_of", "write"]


def require_new(home: Path, *, overwrite: bool) -> Path:
    """The path of the nightreel.toml to write. Raises InputError if it exists, unless `overwrite`."""
    file = home / SETTINGS_FILE
    if file.exists() and not overwrite:
        raise InputError(f"{file} is there already.", "Give --overwrite to replace it, or another --home.")
    return file


def draft_of(log: str, given: Mapping[str, str], ask: Asked, *, layout: str | None) -> Draft:
    """Propose a nightreel.toml for a log.

    Args:
        log: a path, or a query like `sql:SELECT ...`.
        given: option name -> value, `users` and `items` among them.
        ask: called if something has several possible meanings.
        layout: name of a well-known log's layout.
    """
    log = _whole(log)
    path = Path(log)
    if layout is not None:
        draft = example(layout, path)
        draft.top |= {"time_zone": given["time_zone"]} if given.get("time_zone") else {}
        return draft
    if not log.startswith(SQL) and path.is_dir() and not any(path.rglob("*.parquet")):
        raise InputError(
            f"{path}: a folder. Which of its files has the plays?",
            f"Name it: nightreel init FILE; or all by a pattern: nightreel init '{path}/*.csv'; or, of a "
            f"well-known log: --example {'|'.join(EXAMPLES)}.",
        )
    draft = propose(log, _plays_of(log, given, ask), given, ask)
    for kind, role in (("users", "user"), ("items", "item")):
        if kind in given:
            _add_profiles(draft, kind, role, _whole(given[kind]), ask)
    return draft


def rows_of(draft: Draft) -> tuple[list[dict[str, Any]], str]:
    """Ten rows as the draft reads them, and what is wrong with others; empty for KuaiRec's layout."""
    plays = draft.data.get("plays")
    if plays is None:
        return [], ""
    path = plays["path"]
    form = Form(plays.get("delimiter"), plays.get("encoding"), quote=plays.get("quote"))
    sample = sample_of(path[0] if isinstance(path, list) else path, form, draft.form.get("decimal"))
    if not set(draft.data["columns"].values()) <= set(sample.names) and plays.get("header"):
        sample = Sample(tuple(plays["header"]), sample.rows, False, sample.delimiter, sample.encoding)
    missing = sorted(set(draft.data["columns"].values()) - set(sample.names))
    if missing:
        there = ", ".join(sample.names)
        raise InputError(f"{path}: no column {missing[0]}; there are {there}.", "Is it the right file?")
    return understood(draft, sample)


def write(draft: Draft, file: Path) -> str:
    """Write nightreel.toml, with paths below its folder made relative; returns its text."""
    home = file.parent.absolute()
    for kind in ("plays", "users", "items"):
        if kind in draft.data:
            path = draft.data[kind]["path"]
            given = path if isinstance(path, list) else [path]
            paths = [one if one.startswith(SQL) else _from(home, Path(one)) for one in given]
            draft.data[kind] = {**draft.data[kind], "path": paths if len(paths) > 1 else paths[0]}
    if "raw_dir" in draft.top:
        draft.top["raw_dir"] = _from(home, Path(draft.top["raw_dir"]))
    text = text_of_settings(draft)
    file.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(file) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return text


def _plays_of(log: str, given: Mapping[str, str], ask: Asked) -> Sample:
    """The first plays, in the encoding that is given or answered."""
    delimiter = given.get("delimiter")
    if delimiter == "":
        raise InputError("--delimiter: empty.", "Give the character between the columns.")
    # A tab is often typed so.
    form = Form("\t" if delimiter == r"\t" else delimiter, given.get("encoding"))
    sample = sample_of(log, form, given.get("decimal"))
    if sample.encoding is not None and form.encoding is None:
        form = replace(form, encoding=ask("Which encoding is the file in?", "encoding", []))
        sample = sample_of(log, form, given.get("decimal"))
    return sample


def _whole(log: str) -> str:
    return log if log.startswith(SQL) else str(Path(log).expanduser().absolute())


def _from(home: Path, path: Path) -> str:
    return str(path.relative_to(home) if path.is_relative_to(home) else path)


def _add_profiles(draft: Draft, kind: str, role: str, log: str, ask: Asked) -> None:
    sample = sample_of(log)
    key = draft.data["columns"][role]
    given: dict[str, Any] = {"path": log}
    shown = f"the query of {kind}" if log.startswith(SQL) else Path(log).name
    if not sample.has_header:
        given["header"] = list(sample.names)
    if sample.delimiter is not None and len(sample.delimiter) > 1:
        given["delimiter"] = sample.delimiter
    if sample.encoding is not None:
        given["encoding"] = sample.encoding
        draft.notes.append(f"{shown} is not UTF-8 and was read as {sample.encoding}: is that right?")
    if key not in sample.names:
        key = ask(f"Which column of {shown} is the {role}?", f"{role}-id", list(sample.names))
        given["id"] = key
    draft.data[kind] = given
    declared = profile_columns(sample, key, of_items=kind == "items")
    if declared:
        draft.data[f"{role}_columns"] = declared
