"""`[database]`: where lists are published, which runs are kept, and which are refused."""

from pydantic import Field, SecretStr

from nightreel.core.settings.section import Section


class Audits(Section):
    """Limits of a run against the last one."""

    min_share_of_last_run: float = Field(
        default=0.5,
        description="a run with fewer users or rows than this share of the last one's",
        ge=0,
        le=1,
    )
    max_changed_lists: float = Field(
        default=1.0,
        description="a run in which a larger share of the lists lost over half of their videos",
        ge=0,
        le=1,
    )


class DatabaseSettings(Section):
    """The published table."""

    url: SecretStr | None = Field(
        default=None,
        description="SQLAlchemy URL of the published table; by default SQLite in the home folder.",
    )
    keep_runs: int = Field(
        default=7, description="How many published runs are kept, and how many stored replays.", ge=1
    )
    audits: Audits = Field(default=Audits(), description="When a run is refused, besides faults of its own.")
