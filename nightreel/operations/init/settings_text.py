"""A draft as the text of a nightreel.toml, with a comment where a reader may want to change something."""

import json
import re
import tomllib
from collections.abc import Mapping
from typing import Any

from nightreel.operations.init.proposal import Draft

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_HEAD = """\
# nightreel's settings, and the mark of a home: everything is written below this folder, in data/.
# `nightreel settings` lists every setting with its value and where it came from; docs/your-data.md explains
# [data]. Settings outside all tables, such as threads, come before the first table.
"""
_COMMENTS = {
    "time_zone": "where a day begins",
    "like_threshold": "a play is liked if its value is above this",
    "watch_ratio_clip": "a play's value counts up to this",
    "long_view_s": "a play of at least this many seconds is liked, too",
    "raw_dir": "the folder with big_matrix.csv and the others",
    "length_unit": "of play time and length",
    "max_reject_share": "rows that cannot be right are kept apart, up to this share",
}
_OF_TABLES = {
    "targets": "what the rankers learn of a play",
    "format": "how the files are written, where it is not recognised",
    "plays": 'path: a file, a folder of Parquet, a pattern like "logs/*.csv", or a list of these',
    "columns": "which column of the plays is what",
    "event_weights": "of each event: 0 for what was shown and not liked",
    "users": "profiles of users: one row each",
    "user_columns": "numeric, categorical or text: each becomes features; leave out what should be none",
    "items": "profiles of items: one row each",
    "item_columns": "numeric, categorical, text (the caption), or what it is: category, author, upload_date, "
    "length, tags, music",
}


def text_of_settings(draft: Draft) -> str:
    """The whole text of nightreel.toml."""
    lines = [_HEAD]
    lines += [f"# {note}" for note in draft.notes]
    lines += ["# lists.top_k = 100                  # length of each user's list"]
    lines += ["# schedule.max_data_age_hours = 0    # a log that does not grow"]
    tables = {"targets": draft.targets, "format": draft.form}
    data = {**draft.top, **{name: table for name, table in tables.items() if table}, **draft.data}
    if data:
        single = {name: value for name, value in data.items() if not isinstance(value, Mapping)}
        lines += ["", "[data]", *(_line(name, value) for name, value in single.items())]
        for name, value in data.items():
            if isinstance(value, Mapping):
                comment = f"  # {_OF_TABLES[name]}" if name in _OF_TABLES else ""
                lines += ["", f"[data.{name}]{comment}"]
                line = _line if value is draft.targets else _bare_line
                lines += [line(inner, one) for inner, one in value.items()]
    text = "\n".join(lines) + "\n"
    tomllib.loads(text)
    return text


def _line(name: str, value: Any) -> str:
    comment = f"  # {_COMMENTS[name]}" if name in _COMMENTS else ""
    return _bare_line(name, value) + comment


def _bare_line(name: str, value: Any) -> str:
    return f"{_key(name)} = {_value(value)}"


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def _value(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    # JSON's strings and numbers are TOML's too.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
