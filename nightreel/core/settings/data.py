"""`[data]`: where the log is, how its files are read, and which plays are liked."""

import codecs
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, field_validator, model_validator

from nightreel.core.log_layout import LogLayout
from nightreel.core.settings.names import FOLLOWS
from nightreel.core.settings.section import Section, ZoneName, listed

AUTO_IDS, NO_TEXT_IDS = "auto", "none"
TEXT_IDS = ("user", "video", "author", "music", "tag")
TimeFormat = Literal[
    "auto", "seconds", "milliseconds", "microseconds", "nanoseconds", "iso", "day", "day_first", "month_first"
]


class FileFormat(Section):
    """How raw files are written, as far as that is not recognised."""

    delimiter: str | None = Field(
        default=None,
        description="the character between the columns of CSV files, e.g. `;` or `::`",
        min_length=1,
    )
    decimal: Literal[".", ","] | None = Field(
        default=None,
        description="the character before the decimals of numbers; recognised: a point, or a comma if that "
        "does not separate columns and the first rows of a column have it",
    )
    encoding: str | None = Field(
        default=None,
        description="encoding of text files, e.g. `gbk`; recognised: UTF-8, or UTF-16 with its mark",
    )
    quote: str | None = Field(
        default=None,
        description="the quote around fields of CSV files that contain a delimiter, e.g. `'`; empty: none, "
        "quotes are ordinary characters; recognised: `\"`, or `'` if all fields have it",
        max_length=1,
    )
    time: TimeFormat = Field(
        default="auto",
        description="how the times of plays are written: Unix time in a unit, ISO 8601 with or without a "
        "zone, days alone like 2020-12-31 or 20201231, or dates like 31/12/2020 or 12/31/2020",
    )
    text_ids: str = Field(
        default=AUTO_IDS,
        description="which ids are text (words, UUIDs, integers above 2^63-1): names of user, video, author, "
        "music, tag separated by commas, or `none`; recognised in the first load, and kept",
    )

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                codecs.lookup(value)
            except (LookupError, ValueError) as error:
                raise ValueError(
                    f"{value!r} is not a known encoding; use a name like gbk or latin-1"
                ) from error
        return value

    @field_validator("text_ids")
    @classmethod
    def _known_ids(cls, value: str) -> str:
        names = listed(value)
        of_ids = not set(names) - set(TEXT_IDS) and len(set(names)) == len(names)
        if names not in ([AUTO_IDS], [NO_TEXT_IDS]) and not of_ids:
            known = ", ".join(TEXT_IDS)
            raise ValueError(f"{value!r}: write `auto`, `none`, or some of {known}, separated by commas")
        return ",".join(names)


class TargetSettings(Section):
    """The targets that the rankers learn from a play."""

    like_threshold: float = Field(
        default=1.0,
        description="a play is liked when watch_ratio, or its counterpart in a log of another layout, "
        "exceeds this; the default is 3.5 for ratings, 0 for weights and 0.5 for events",
        ge=0,
    )
    long_view_s: float | None = Field(
        default=None,
        description="a play of at least this many seconds is liked too, whatever its watch_ratio; by default "
        "the ratio alone counts",
        gt=0,
    )
    label: Literal["ratio", "duration"] = Field(
        default="ratio",
        description="what a liked play is: `ratio`, as the two keys above say; `duration`, one whose "
        "watch_ratio is in the highest fifth among videos of similar length",
    )
    watch_ratio_clip: float = Field(
        default=5.0, description="the regressor's target is watch_ratio, at most this", gt=0
    )


class DataSettings(Section):
    """Raw files, and what a liked play is."""

    raw_dir: Path = Field(
        default=Path("raw"),
        description="Folder with the raw CSV files (KuaiRec's `data` folder), or its URL (`s3://`, `gs://`, "
        "`file://`).",
    )
    raw_url: str | None = Field(
        default=None, description="Its URL, where `raw_dir` was one.", json_schema_extra=FOLLOWS
    )
    source_url: SecretStr | None = Field(
        default=None,
        description='URL of the database that queries of this table (`plays = "sql:SELECT ..."`) are put to: '
        "PostgreSQL, SQLite, DuckDB, or another of SQLAlchemy; by the environment.",
    )
    time_zone: ZoneName = Field(
        default="Asia/Shanghai", description="Business time zone: where a day begins."
    )
    max_reject_share: float = Field(
        default=0.01, description="Largest share of a file's rows that ingest may reject.", ge=0, le=1
    )
    format: FileFormat = Field(
        default=FileFormat(),
        description="How the files are written; keys that are not set are recognised from the files.",
    )
    targets: TargetSettings = Field(
        default=TargetSettings(), description="Which plays are liked, and what the regressor learns."
    )
    log: LogLayout | None = Field(
        default=None,
        description="Files of any layout, and which of their columns is what; None: KuaiRec's in raw_dir.",
    )

    @model_validator(mode="before")
    @classmethod
    def _gather_log(cls, values: Any) -> Any:
        """The file has the log's settings beside the others of [data]."""
        if not isinstance(values, dict) or "log" in values:
            return values
        inner = {name: value for name, value in values.items() if name in LogLayout.model_fields}
        others = {name: value for name, value in values.items() if name not in inner}
        return {**others, "log": inner} if inner else values

    @model_validator(mode="after")
    def _follow_from_log(self) -> "DataSettings":
        if self.log is None:
            return self
        if "like_threshold" not in self.targets.model_fields_set:
            # Settings are frozen for others. A copy, as the default is one object for all.
            object.__setattr__(self, "targets", self.targets.model_copy())
            object.__setattr__(self.targets, "like_threshold", self.log.like_threshold)
        needs = "of plays whose play_time and length [data.columns] names"
        if self.targets.label == "duration" and not self.has_lengths:
            raise ValueError(f'label = "duration" is {needs}; set label = "ratio"')
        has_ratios = self.has_lengths and self.log.columns.value is None
        if self.targets.long_view_s is not None and not has_ratios:
            raise ValueError(f"long_view_s is {needs}, and no rating, weight or event; do not set it")
        return self

    @property
    def zone(self) -> ZoneInfo:
        """The business time zone."""
        return ZoneInfo(self.time_zone)

    @property
    def has_play_times(self) -> bool:
        """Whether play times are known."""
        return self.log is None or self.log.has_play_times

    @property
    def has_lengths(self) -> bool:
        """Whether both play times and video lengths are known."""
        return self.log is None or self.log.has_lengths
