"""One typed settings object, read from `nightreel.toml` and NIGHTREEL_* environment variables.

Precedence: environment, then the file, then the default. `home` is the one folder that everything is
written below.
"""

import codecs
import hashlib
import os
import re
import tomllib
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Annotated, Any, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import BaseModel, Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, PydanticBaseSettingsSource, SettingsConfigDict

from nightreel.core.data_settings import DataSettings
from nightreel.core.errors import InputError
from nightreel.core.own_models import RANKERS, SOURCES, own_names

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

SETTINGS_FILE = "nightreel.toml"
WORK_DIR = "/var/tmp/nightreel"
URL_SCHEMES = ("s3", "gs", "file")
CANDIDATE_SOURCES = ("als", "popular", "fresh", "alike")
RETRIEVAL_SOURCES = (
    "recent_12h",
    "recent_2d",
    "recent_7d",
    "als",
    "biased_als",
    "bpr",
    "ease",
    "ease_played",
    "item_knn",
    "item_knn_bm25",
    "next_played",
    "fresh",
    "same_author",
    "same_category",
)
ENVIRONMENT_PREFIX = "NIGHTREEL_"
AUTO_IDS, NO_TEXT_IDS = "auto", "none"
TEXT_IDS = ("user", "video", "author", "music", "tag")
_WITH_PASSWORD = re.compile(
    r"(?P<start>(?!sqlite)[\w+]+://[^:/]*:)(?P<password>[^@]*)@(?P<rest>.*)", re.DOTALL | re.IGNORECASE
)
# An option that holds an `@`, and no user: what comes before it would be taken for one, the rest for a host.
_OPTION_WITH_AT = re.compile(
    r"(?!sqlite)[\w+]+://[^@]*\?([^@]*&)?[a-z_]+=[^@]*@.*", re.DOTALL | re.IGNORECASE
)
# What nightreel itself sets, and what Kubernetes sets in a pod for a service called nightreel or nightreel-*.
_NO_SETTING = re.compile(
    r"DEBUG_TRACEBACKS|(\w+_)?SERVICE_(HOST|PORT(=\d+|_\w+))|(\w+_)?PORT(=\w+://.*|_\d+_(TCP|UDP|SCTP)(_\w+)?)"
)
_OPTIONS_SHOWN = (
    "host",
    "port",
    "dbname",
    "user",
    "sslmode",
    "application_name",
    "connect_timeout",
    "options",
)


# Held while the environment is changed to read settings by: pydantic knows only that of the process.
_reading = Lock()


class Settings(BaseSettings):
    """Everything that a user can set. Units are in the names; shares are between 0 and 1."""

    model_config = SettingsConfigDict(env_prefix=ENVIRONMENT_PREFIX, extra="forbid", frozen=True)

    home: Path = Field(description="Folder that everything is written below.")
    raw_dir: Path = Field(
        default=Path("raw"), description="Folder with the raw CSV files (KuaiRec's `data` folder)."
    )
    home_url: str | None = Field(
        default=None,
        description="URL (`s3://`, `gs://`, `file://`) of the home: fetched before a step, sent back after "
        "it; `home` itself may be that URL, then the home is a working folder in `work_dir`.",
    )
    raw_url: str | None = Field(
        default=None,
        description="The same of raw_dir, which may itself be the URL too.",
    )
    work_dir: Path = Field(
        default=Path(WORK_DIR),
        description="Where homes that are URLs have their working folders; the same on every machine.",
    )
    database_url: SecretStr | None = Field(
        default=None,
        description="SQLAlchemy URL of the published table; by default SQLite in the home folder.",
    )
    source_url: SecretStr | None = Field(
        default=None,
        description="URL of the database that queries of `[data]` are put to, as "
        '`plays = "sql:SELECT ..."`: PostgreSQL, SQLite, DuckDB, or another of SQLAlchemy; by the '
        "environment.",
    )
    time_zone: str = Field(default="Asia/Shanghai", description="Business time zone: where a day begins.")
    seed: int = Field(default=20200705, description="Seed of every random choice.", ge=0, lt=2**31)
    threads: int = Field(
        default=2, description="Threads of ALS and LightGBM; a fixed number, for determinism.", ge=1
    )

    engine: Literal["local", "ray"] = Field(
        default="local",
        description="Where heavy steps run: in this process, or on a Ray cluster (extra `nightreel[ray]`).",
    )
    ray_address: str | None = Field(
        default=None,
        description="Address of the Ray cluster, e.g. `10.0.0.5:6379`, or `auto` on one of its machines; not "
        "set: Ray is started on this machine for the step.",
    )
    shared_dir: str | None = Field(
        default=None,
        description="Folder or URL (`s3://`, `gs://`, `file://`) that every node of the cluster reaches, for "
        "parts of tonight's lists; by default `data/shared` in the home.",
    )
    loaders: int = Field(
        default=4,
        description="Of engine `ray`: connections that load lists into PostgreSQL at the same time.",
        ge=1,
        le=64,
    )

    home_wait_s: float = Field(
        default=30.0,
        description="Seconds that a step waits for another one that changes the home, before it ends with 3.",
        ge=0,
    )
    max_reject_share: float = Field(
        default=0.01, description="Largest share of a file's rows that ingest may reject.", ge=0, le=1
    )

    delimiter: str | None = Field(
        default=None,
        description="What stands between the columns of CSV files, e.g. `;` or `::`; not set: recognised.",
        min_length=1,
    )
    encoding: str | None = Field(
        default=None,
        description="Encoding of text files, e.g. `gbk`; not set: UTF-8, or UTF-16 where a file says so.",
    )
    time_format: Literal[
        "auto",
        "seconds",
        "milliseconds",
        "microseconds",
        "nanoseconds",
        "iso",
        "day_first",
        "month_first",
    ] = Field(
        default="auto",
        description="How plays' times are written: Unix time in a unit, ISO 8601 with or without a zone, or "
        "dates like 31/12/2020 or 12/31/2020; `auto`: recognised from the first rows.",
    )

    text_ids: str = Field(
        default=AUTO_IDS,
        description="Which ids are text (words, UUIDs, integers above 2^63-1): names of user, video, author, "
        "music, tag with commas between, or `none`; `auto`: recognised in the first load, and kept.",
    )
    quote: str | None = Field(
        default=None,
        description="What stands around fields of CSV files that hold a delimiter, e.g. `'`; empty: nothing "
        "does, and a quote is a character like others; not set: `\"`, or `'` where all fields have it.",
        max_length=1,
    )
    data: DataSettings | None = Field(
        default=None,
        description="The table `[data]`: files of any layout, and which of their columns is what "
        "(docs/your-data.md); `nightreel init` writes it. Not set: KuaiRec's files in raw_dir.",
    )

    feature_modules: Annotated[tuple[str, ...], NoDecode] = Field(
        default=(),
        description="Your own Python modules with features: names, or paths of files from the home; in the "
        "environment with commas between.",
    )
    pair_views: bool = Field(
        default=False,
        description="Build the Feast views of a user with an author, a category, a tag and a length too. For "
        "models of your own: nightreel's rankers compute what they need of these as they read the plays.",
    )
    like_threshold: float = Field(
        default=1.0,
        description="A play is liked when watch_ratio exceeds this, or what stands for it in a log of "
        "another layout; where that is a rating, the default is 3.5, of a weight 0, of events 0.5.",
        ge=0,
    )
    long_view_s: float | None = Field(
        default=None,
        description="A play of at least so many seconds is liked too, whatever its watch_ratio; by default "
        "the ratio alone counts.",
        gt=0,
    )
    watch_ratio_clip: float = Field(
        default=5.0, description="The regressor's target is watch_ratio, at most this.", gt=0
    )
    label: Literal["ratio", "duration"] = Field(
        default="ratio",
        description="What the rankers learn: watch_ratio above like_threshold, or above like_quantile of the "
        "plays of videos of like length.",
    )
    like_quantile: float = Field(
        default=0.8, description="Of label `duration`: the quantile that a liked play exceeds.", gt=0, lt=1
    )
    smoothing_plays: float = Field(
        default=20.0, description="Weight, in plays, of the overall mean in smoothed shares and means.", gt=0
    )

    als_model: Literal["biased", "implicit"] = Field(
        default="biased", description="ALS of our own, fitted on plays only, or that of the package implicit."
    )
    als_factors: int = Field(
        default=64, description="Dimensions of the ALS factors, the two biases included.", ge=3, le=512
    )
    als_iterations: int = Field(default=5, description="ALS iterations of the first fit.", ge=1)
    als_refit_iterations: int = Field(
        default=2, description="ALS iterations of each later fit, which starts from the one before.", ge=1
    )
    als_regularization: float = Field(
        default=15.0, description="Weight, in plays, that pulls ALS factors to zero.", gt=0
    )
    als_refit_days: int = Field(default=7, description="Days between ALS refits.", ge=1)

    train_sample: float = Field(
        default=1.0,
        description="Share of users whose interactions train the rankers (chosen by hash).",
        gt=0,
        le=1,
    )
    test_sample: float = Field(
        default=1.0, description="Share of held-out users that are evaluated (chosen by hash).", gt=0, le=1
    )
    tuning_share: float = Field(
        default=0.2,
        description="Share of the evaluated users, by hash, that choose the blend; the others are reported.",
        ge=0,
        lt=1,
    )
    as_published_plays: int = Field(
        default=20_000,
        description="Most plays that the original work's protocol is fitted on when it is evaluated; 0: not.",
        ge=0,
    )
    as_published_trees: int = Field(
        default=60, description="Most trees of each of its models; the original had 1000.", ge=1
    )
    fresh_days: int = Field(default=7, description="A video is fresh for so many days after upload.", ge=1)
    cold_plays: int = Field(
        default=20, description="A user with fewer plays is evaluated as a cold user.", ge=1
    )
    holdout_days: int = Field(
        default=2, description="Last days of the interactions kept for early stopping and the holdout.", ge=1
    )
    backtest_days: int = Field(
        default=3,
        description="Last days of the interactions whose lists are made as they would have been published, "
        "and judged by what was played that day (protocol `next_day`); the holdout covers them.",
        ge=1,
    )
    backtest_users: int = Field(
        default=1_000,
        description="Most users, by hash, whose lists of these days are made by systems that are only "
        "compared: each candidate source, and the objective that is not published. The published lists are "
        "made for all users.",
        ge=1,
    )
    trees: int = Field(default=120, description="Most trees of each ranker.", ge=1)
    learning_rate: float = Field(
        default=0.0935, description="How much of each tree's answer the classifier takes.", gt=0, le=1
    )
    regressor_learning_rate: float = Field(
        default=0.109, description="The same of the regressor, whose target is noisier.", gt=0, le=1
    )
    leaves: int = Field(default=27, description="LightGBM leaves of a tree.", ge=2, le=64)
    min_leaf_plays: int = Field(default=145, description="Fewest plays in a leaf.", ge=1)
    tree_features: float = Field(
        default=0.471, description="Share of the features, drawn anew, that a tree may use.", gt=0, le=1
    )
    leaf_regularization: float = Field(
        default=24.1, description="LightGBM's lambda_l2: weight that pulls a leaf's answer to zero.", ge=0
    )
    category_plays: float = Field(
        default=2_870.0,
        description="Weight, in plays, that pulls what a category says to the mean of all; fewer in a small "
        "log.",
        ge=1,
    )
    tree_rows: int = Field(
        default=1_000_000,
        description="Most plays that one tree is fitted on; a larger log is learnt from part by part.",
        ge=1_000,
    )
    lambdamart_plays: int = Field(
        default=500_000,
        description="Most plays that the LambdaMART ranker, which is only evaluated, is fitted on; 0: none.",
        ge=0,
    )
    early_stopping_trees: int = Field(
        default=40, description="Stop when the holdout has not improved for so many trees.", ge=1
    )

    top_k: int = Field(default=100, description="Length of each user's list.", ge=1, le=10_000)
    filter_k: int = Field(
        default=500,
        description="Candidates that the classifier hands to the regressor; top_k where that is more.",
        ge=1,
    )
    candidates: str = Field(
        default="all",
        description="What the rankers score for a user: `all` videos, or a union of sources, such as "
        "`als,popular,fresh,alike`.",
    )
    candidate_k: int = Field(
        default=2_000,
        description="Size of that union: at least filter_k and top_k videos a user.",
        ge=1,
    )
    als_search: Literal["exact", "approximate"] = Field(
        default="exact",
        description="How the source `als` of that union is searched: `exact`, through all videos, or by "
        "faiss in part of them (extra `nightreel[search]`).",
    )
    objective: Literal["auto", "shown", "next_day"] = Field(
        default="auto",
        description="What the lists are trained for: `shown`, what is liked of what is shown; `next_day`, "
        "what is liked on the next day out of all videos; `auto`, what wins on past data.",
    )
    retrieval_sources: str = Field(
        default="recent_12h,recent_2d,recent_7d,als,ease,ease_played,item_knn,next_played",
        description="Of objective `next_day`: the candidate sources, with commas between.",
    )
    source_k: int = Field(
        default=100, description="Of objective `next_day`: candidates that each source names.", ge=1
    )
    training_nights: int = Field(
        default=3,
        description="Of objective `next_day`: past nights whose candidates train the rankers.",
        ge=1,
    )
    training_users: int = Field(
        default=5_000, description="Most users of each of these nights, chosen by hash.", ge=1
    )
    last_stage: str | None = Field(
        default=None,
        description="A model of your own that orders what the filter has kept (docs/own-models.md); not set: "
        "nightreel's own order.",
    )
    lists_in_feast: bool = Field(
        default=False,
        description="Each night also puts the lists into Feast's view `user_recommendation` and its online "
        "store, as `nightreel export --to feast` does.",
    )
    exclude_seen: bool = Field(
        default=True, description="Leave out videos that the user has already watched."
    )
    exclude_seen_days: int | None = Field(
        default=None,
        description="Watched videos may be listed again after so many days; not set: never again.",
        ge=1,
    )
    exclude_not_public: bool = Field(
        default=True, description="Leave out videos whose last known visible_status is not `public`."
    )
    exclude_advertisements: bool = Field(
        default=False, description="Leave out videos whose video_type is `AD`."
    )
    max_video_age_days: int | None = Field(
        default=None, description="Leave out videos uploaded more than so many days ago.", ge=1
    )
    max_per_author: int | None = Field(
        default=None, description="Most videos of one author in a list; not set: any number.", ge=1
    )
    max_per_category: int | None = Field(
        default=None, description="Most videos of one first-level category in a list.", ge=1
    )
    user_block_rows: int = Field(default=256, description="Users scored at a time.", ge=1)
    keep_runs: int = Field(default=7, description="Published runs that are kept.", ge=1)
    keep_replays: int = Field(default=3, description="Stored replays that are kept.", ge=1)
    min_share_of_last_run: float = Field(
        default=0.5,
        description="A run with fewer users or rows than this share of the last one's is not published.",
        ge=0,
        le=1,
    )
    max_changed_lists: float = Field(
        default=1.0,
        description="A run is not published where a larger share of lists lost over half of their videos.",
        ge=0,
        le=1,
    )

    schedule: str = Field(
        default="0 2 * * *",
        description="When the nightly job is due: a cron expression; with both a day of the month and a "
        "weekday it is due on either, as in cron. Weekdays are written as names.",
    )
    schedule_zone: str | None = Field(
        default=None, description="Time zone of the schedules; by default that of time_zone."
    )
    retrain_schedule: str | None = Field(
        default=None, description="When to train again, e.g. `0 5 * * sun`; not set: by hand only."
    )
    schedule_grace_hours: float = Field(
        default=20.0, description="A job missed by no more than this is caught up, once.", gt=0, le=24 * 28
    )
    job_limit_minutes: float = Field(
        default=360.0, description="A scheduled job that takes longer is ended.", gt=0
    )
    stage_retries: int = Field(
        default=5, description="Further tries of a stage where the database is away or busy.", ge=0, le=20
    )
    retry_wait_s: float = Field(
        default=10.0, description="Seconds before the first such try; each later one waits twice that.", gt=0
    )
    stop_within_s: float = Field(
        default=60.0, description="Seconds that a job has to end when the scheduler is asked to stop.", gt=0
    )
    on_failure: SecretStr | None = Field(
        default=None,
        description="What to tell of a failed job: a shell command (JSON on its standard input), or a URL.",
    )
    max_data_age_hours: float | None = Field(
        default=48.0,
        description="A list whose newest play is older is `stale data`; 0 or `none`: of any age, for a data "
        "set that does not grow.",
        ge=0,
    )
    metrics_host: str = Field(
        default="127.0.0.1",
        description="Address that the metrics are served at; `0.0.0.0` for all, behind a firewall.",
    )
    metrics_port: int | None = Field(
        default=None, description="Port of the scheduler's Prometheus metrics; not set: none.", ge=1, le=65535
    )
    browse_password: SecretStr | None = Field(
        default=None,
        description="Password that the pages and the API of `nightreel browse` ask for, with any user name; "
        "needed where it serves others than this machine. Set it in the environment.",
        min_length=8,
    )
    browse_thumbnail_url: str | None = Field(
        default=None,
        description="Address of a video's picture, e.g. `https://cdn.example.com/{video_id}.jpg`, which the "
        "pages show and the browser fetches; not set: no pictures.",
    )

    @field_validator("browse_thumbnail_url")
    @classmethod
    def _picture_of_a_host(cls, value: str | None) -> str | None:
        pattern = r"https?://[A-Za-z0-9.-]+(:\d+)?/[^\s\"'<>;]*\{video_id\}[^\s\"'<>;]*"
        if value is not None and not re.fullmatch(pattern, value):
            raise ValueError(f"{value!r}: write it like https://cdn.example.com/{{video_id}}.jpg")
        return value

    @field_validator("max_data_age_hours", mode="before")
    @classmethod
    def _of_any_age(cls, value: Any) -> Any:
        return None if str(value).strip().casefold() in ("", "none", "0", "0.0") else value

    @field_validator("feature_modules", mode="before")
    @classmethod
    def _names_of_modules(cls, value: Any) -> Any:
        if isinstance(value, str):
            value = [name.strip() for name in value.split(",") if name.strip()]
        if isinstance(value, list | tuple) and len(set(map(str, value))) != len(value):
            raise ValueError("a module is named twice")
        return value

    @field_validator("schedule", "retrain_schedule")
    @classmethod
    def _cron(cls, value: str | None) -> str | None:
        if value is not None:
            # Only where a schedule is read: APScheduler takes a while to import.
            from nightreel.core.cron import require_coming

            require_coming(value)
        return value

    @field_validator("encoding")
    @classmethod
    def _known_encoding(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                codecs.lookup(value)
            except (LookupError, ValueError) as error:
                raise ValueError(f"{value!r} is no known encoding; use a name like gbk or latin-1") from error
        return value

    @field_validator("candidates")
    @classmethod
    def _known_sources(cls, value: str) -> str:
        names = [name.strip() for name in value.split(",")]
        known_names = (*CANDIDATE_SOURCES, *own_names(SOURCES))
        if names != ["all"] and (set(names) - set(known_names) or len(set(names)) != len(names)):
            known = ", ".join(known_names)
            raise ValueError(f"{value!r}: write `all`, or some of {known}, each once, with commas between")
        return ",".join(names)

    @field_validator("text_ids")
    @classmethod
    def _known_ids(cls, value: str) -> str:
        names = [name.strip() for name in value.split(",")]
        of_ids = not set(names) - set(TEXT_IDS) and len(set(names)) == len(names)
        if names not in ([AUTO_IDS], [NO_TEXT_IDS]) and not of_ids:
            known = ", ".join(TEXT_IDS)
            raise ValueError(f"{value!r}: write `auto`, `none`, or some of {known}, with commas between")
        return ",".join(names)

    @field_validator("retrieval_sources")
    @classmethod
    def _known_retrieval_sources(cls, value: str) -> str:
        names = [name.strip() for name in value.split(",")]
        known = (*RETRIEVAL_SOURCES, *own_names(SOURCES))
        if set(names) - set(known) or len(set(names)) != len(names):
            raise ValueError(f"{value!r}: write some of {', '.join(known)}, each once, with commas")
        return ",".join(names)

    @field_validator("last_stage")
    @classmethod
    def _known_last_stage(cls, value: str | None) -> str | None:
        if value is not None and value not in own_names(RANKERS):
            known = ", ".join(own_names(RANKERS)) or "none"
            raise ValueError(f"{value!r}: no installed package brings it ({RANKERS}; there are: {known})")
        return value

    @field_validator("time_zone", "schedule_zone")
    @classmethod
    def _known_zone(cls, value: str | None) -> str | None:
        if value is None:
            return None
        try:
            ZoneInfo(value)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"{value!r} is not a known time zone; use a name like Asia/Shanghai") from error
        return value

    @model_validator(mode="after")
    def _follow_from_data(self) -> "Settings":
        if self.data is None:
            return self
        if "like_threshold" not in self.model_fields_set:
            # Settings are frozen for others.
            object.__setattr__(self, "like_threshold", self.data.like_threshold)
        needs = "of plays whose play_time and length [data.columns] names"
        if self.label == "duration" and not self.has_lengths:
            raise ValueError(f'label = "duration" is {needs}; set label = "ratio"')
        if self.long_view_s is not None and not (self.has_lengths and self.data.columns.value is None):
            raise ValueError(f"long_view_s is {needs}, and no rating, weight or event; do not set it")
        return self

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over what the file says (which is passed in at construction)."""
        return (env_settings, init_settings)

    @property
    def zone(self) -> ZoneInfo:
        """The business time zone."""
        return ZoneInfo(self.time_zone)

    @property
    def zone_of_schedule(self) -> ZoneInfo:
        """The zone in which the schedules are read."""
        return ZoneInfo(self.schedule_zone or self.time_zone)

    @property
    def has_play_times(self) -> bool:
        """Whether it is known how long plays last."""
        return self.data is None or self.data.has_play_times

    @property
    def has_lengths(self) -> bool:
        """Whether it is known how long plays and videos last."""
        return self.data is None or self.data.has_lengths

    @cached_property
    def paths(self) -> "Paths":
        """Where everything stands below `home`."""
        return Paths(self.home)

    @property
    def sqlalchemy_url(self) -> str:
        """The database to publish to, password included: never log or print this."""
        if self.database_url is None:
            return f"sqlite:///{self.paths.sqlite}"
        return self.database_url.get_secret_value()


@dataclass(frozen=True)
class Paths:
    """Every file and folder that nightreel writes, below one home."""

    home: Path

    @property
    def data(self) -> Path:
        return self.home / "data"

    @property
    def tables(self) -> Path:
        """Validated tables, one parquet file each."""
        return self.data / "tables"

    @property
    def ids(self) -> Path:
        """Ids that are text, with their codes: a file for users, for videos and so on."""
        return self.data / "ids"

    @property
    def retrieval(self) -> Path:
        """What candidate sources have learnt, a folder a cutoff."""
        return self.data / "retrieval"

    @property
    def rejects(self) -> Path:
        return self.data / "rejects"

    @property
    def features(self) -> Path:
        """Parquet sources of the feature views, one file a view."""
        return self.data / "features"

    @property
    def registry(self) -> Path:
        return self.data / "registry.db"

    @property
    def online_store(self) -> Path:
        return self.data / "online_store.db"

    @property
    def models(self) -> Path:
        return self.data / "models"

    @property
    def evaluation(self) -> Path:
        return self.data / "evaluation"

    @property
    def backtest(self) -> Path:
        """Lists of past days, as they would have been published: a folder a day."""
        return self.data / "backtest"

    @property
    def tuning(self) -> Path:
        """The studies of `nightreel tune`."""
        return self.data / "tuning"

    @property
    def state(self) -> Path:
        """What each step did last, so that it can be skipped."""
        return self.data / "state"

    @property
    def shared(self) -> Path:
        """What the nodes of a cluster hand to each other, where `shared_dir` names no other place."""
        return self.data / "shared"

    @property
    def sqlite(self) -> Path:
        return self.data / "nightreel.sqlite"

    def table(self, name: str) -> Path:
        return self.tables / f"{name}.parquet"

    def feature_source(self, view: str) -> Path:
        return self.features / f"{view}.parquet"


Origin = Literal["environment", "file", "default"]


def find_settings_file(start: Path) -> Path | None:
    """The nearest `nightreel.toml` at or above `start`, or None."""
    for folder in (start, *start.parents):
        candidate = folder / SETTINGS_FILE
        if candidate.is_file():
            return candidate
    return None


def settings_file(settings: Settings) -> Path:
    """The nightreel.toml that these settings were read from, or that of their home, which may not exist."""
    file, _ = _file_values()
    return file or settings.home / SETTINGS_FILE


def settings_of_home(folder: str | Path, *, environment: bool = True) -> Settings:
    """The effective settings of a home that is named here, read as if NIGHTREEL_HOME named it.

    environment: whether other NIGHTREEL_* variables count.
    """
    with _reading:
        before = {name: os.environ[name] for name in _variables()}
        try:
            if not environment:
                for name in before:
                    del os.environ[name]
            os.environ[f"{ENVIRONMENT_PREFIX}HOME"] = url_of(Path(folder)) or str(
                Path(folder).expanduser().resolve()
            )
            return load_settings()
        finally:
            for name in _variables():
                del os.environ[name]
            os.environ.update(before)


def load_settings(**overrides: Any) -> Settings:
    """The effective settings for the current folder and environment.

    With NIGHTREEL_HOME set, only that folder's own nightreel.toml is read, so that two homes share nothing.
    overrides win over the file, not over the environment. Raises InputError for an unknown or bad setting.
    """
    _refuse_unknown_variables()
    file, values = _file_values()
    values |= {name: value for name, value in overrides.items() if value is not None}
    values.setdefault("home", file.parent if file is not None else Path.cwd())
    try:
        loaded = Settings(**values)
    except ValidationError as error:
        raise InputError(_explain(error, file)) from None
    base = Path.cwd() if _from_environment("home") or file is None else file.parent
    updates: dict[str, Any] = {}
    home_url = url_of(loaded.home)
    if home_url is not None:
        updates["home_url"] = home_url
        home = working_folder(home_url, loaded.work_dir)
    else:
        home = (base / loaded.home.expanduser()).resolve()
    if _from_environment("raw_dir"):
        raw_base = Path.cwd()
    else:
        raw_base = file.parent if file is not None and "raw_dir" in values else home
    raw_url = url_of(loaded.raw_dir)
    if raw_url is not None:
        updates |= {"raw_url": raw_url, "raw_dir": home / "raw"}
    else:
        updates["raw_dir"] = (raw_base / loaded.raw_dir.expanduser()).resolve()
    if loaded.data is not None:
        in_raw_dir = updates["raw_dir"] if raw_url is not None else None
        updates["data"] = loaded.data.below(in_raw_dir or (file.parent if file is not None else base))
    updates["feature_modules"] = tuple(_module_name(one, home) for one in loaded.feature_modules)
    return loaded.model_copy(update={"home": home, **updates})


def _module_name(named: str, home: Path) -> str:
    """The name of a module as it is; of a file its whole path, so that other homes of a step find it too."""
    return str((home / Path(named).expanduser()).resolve()) if named.endswith(".py") else named


def require_home(settings: Settings, *, may_be_new: bool = False) -> None:
    """Raise InputError where the home is not there: a name that was mistyped makes no new one.

    may_be_new: of a command that makes what it needs there.
    """
    home = settings.home
    if settings.home_url is not None or home.is_dir():
        return
    if may_be_new and not home.exists():
        return
    raise InputError(
        f"{home}: a file, not a folder." if home.exists() else f"{home}: no such folder.",
        "Name the home with --home or NIGHTREEL_HOME, or make the folder.",
    )


def url_of(path: Path) -> str | None:
    """The URL that was given for a path, which knows only one slash of it; None for a path."""
    scheme, colon, rest = str(path).partition(":/")
    if not colon or scheme not in URL_SCHEMES:
        return None
    return f"{scheme}://{rest}" if scheme != "file" else f"file:///{rest}"


def working_folder(url: str, work_dir: Path) -> Path:
    """Where the home behind a URL is worked on: the same path on every machine."""
    digest = hashlib.sha256(url.rstrip("/").encode()).hexdigest()[:12]
    return work_dir / f"{url.rstrip('/').rpartition('/')[2]}-{digest}"


def origins() -> dict[str, Origin]:
    """Where each setting's effective value came from."""
    _, values = _file_values()
    return {
        name: "environment" if _from_environment(name) else "file" if name in values else "default"
        for name in Settings.model_fields
    }


def _file_values() -> tuple[Path | None, dict[str, Any]]:
    home = os.environ.get(f"{ENVIRONMENT_PREFIX}HOME")
    if home:
        url = url_of(Path(home))
        work_dir = Path(os.environ.get(f"{ENVIRONMENT_PREFIX}WORK_DIR") or WORK_DIR)
        folder = Path(home).expanduser().resolve() if url is None else working_folder(url, work_dir)
        candidate = folder / SETTINGS_FILE
        file = candidate if candidate.is_file() else None
    else:
        file = find_settings_file(Path.cwd())
    if file is None:
        return None, {}
    try:
        return file, _without_sections(tomllib.loads(file.read_text(encoding="utf-8")))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: not valid TOML: {error}.", "Mend the file, or remove it.") from None


def _without_sections(values: dict[str, Any]) -> dict[str, Any]:
    """The values with those of a section under its name and theirs: `[browse] thumbnail_url`."""
    flat: dict[str, Any] = {}
    for name, value in values.items():
        # A table that is a setting of its own, as [data], stays whole.
        is_section = isinstance(value, dict) and name not in Settings.model_fields
        inner = {f"{name}_{key}": one for key, one in value.items()} if is_section else {name: value}
        if twice := flat.keys() & inner.keys():
            raise InputError(
                f"Setting `{min(twice)}`: it is set twice, alone and in the section [{name}].",
                "Keep one of them.",
            )
        flat |= inner
    return flat


def _variables() -> list[str]:
    return [name for name in os.environ if name.upper().startswith(ENVIRONMENT_PREFIX)]


def _refuse_unknown_variables() -> None:
    for name in sorted(_variables()):
        rest = name.upper().removeprefix(ENVIRONMENT_PREFIX)
        said = f"{rest}={os.environ[name]}" if rest.endswith("PORT") else rest
        if rest.lower() not in Settings.model_fields and not _NO_SETTING.fullmatch(said):
            raise InputError(
                f"environment variable {name}: no such setting.",
                "Unset it, or correct its name; docs/settings.md lists them all.",
            )


def _from_environment(name: str) -> bool:
    return bool({key for key in os.environ if key.lower() == f"{ENVIRONMENT_PREFIX}{name}".lower()})


def _explain(error: ValidationError, file: Path | None) -> str:
    lines = []
    for problem in error.errors(include_url=False, include_input=False):
        name = ".".join(str(part) for part in problem["loc"])
        where = (
            f"environment variable {ENVIRONMENT_PREFIX}{name.upper()}"
            if _from_environment(name)
            else f"{file}, setting `{name}`"
            if file is not None
            else f"setting `{name}`"
        )
        text = "no such setting" if problem["type"] == "extra_forbidden" else problem["msg"]
        if problem["type"] == "extra_forbidden" and name.startswith("data."):
            text = "no such setting of the table [data]; settings that are not of it stand above it"
        lines.append(f"{where}: {text}." if name else f"{file or 'settings'}: {text}.")
    return " ".join(lines) + " `nightreel settings` lists them all."


def describe(settings: Settings) -> list[dict[str, str]]:
    """Each setting's name, value, where it came from and what it is for; passwords are masked."""
    came_from = origins()
    return [
        {
            "setting": name,
            "value": _shown(name, getattr(settings, name)),
            "from": came_from[name],
            "meaning": field.description or "",
        }
        for name, field in Settings.model_fields.items()
    ]


def _shown(name: str, value: Any) -> str:
    if name in ("database_url", "source_url") and value is not None:
        return masked_url(value.get_secret_value())
    if isinstance(value, tuple):
        return ",".join(value) or "none"
    if isinstance(value, BaseModel):
        return value.model_dump_json(exclude_defaults=True)
    return "not set" if value is None else str(value)


def parsed_url(url: "str | URL") -> "URL":
    """The URL's parts; an `@` of the password may be written as it is.

    SQLAlchemy ends a password at its first `@`, which would make its tail a host, shown to all. Raises
    ValueError where the end of the password is ambiguous, ArgumentError where it is no URL at all.
    """
    from sqlalchemy.engine import make_url

    if isinstance(url, str) and _OPTION_WITH_AT.fullmatch(url):
        raise ValueError("an option that holds an `@`")
    written = _WITH_PASSWORD.fullmatch(url) if isinstance(url, str) else None
    if written is None:
        return make_url(url)
    if "@" in written["start"] and "/" in written["password"]:
        raise ValueError("a user and an option that both hold an `@`")
    if "@" not in written["rest"]:
        return make_url(url)
    tail, _, rest = written["rest"].rpartition("@")
    if any(character in tail for character in "/?"):
        raise ValueError("an `@` that may be the password's or not")
    return make_url(f"{written['start']}{written['password']}%40{tail.replace('@', '%40')}@{rest}")


def masked_url(url: "str | URL") -> str:
    """The URL without its password, fit for a log; wholly masked where it cannot be parsed."""
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = parsed_url(url)
    except (ArgumentError, ValueError):
        return "***"
    # A password may also stand among the options: `?password=...`.
    shown = {name: value if name in _OPTIONS_SHOWN else "***" for name, value in parsed.query.items()}
    return parsed.set(query=shown).render_as_string(hide_password=True)
