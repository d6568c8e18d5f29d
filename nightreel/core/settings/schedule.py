"""`[schedule]`: when the night is due, how long it may take, and where failures are reported."""

from typing import Any
from zoneinfo import ZoneInfo

from pydantic import Field, SecretStr, field_validator

from nightreel.core.settings.data import DataSettings
from nightreel.core.settings.section import Section, ZoneName


class ScheduleSettings(Section):
    """The schedule, limits and alarms of `nightreel schedule`."""

    cron: str = Field(
        default="0 2 * * *",
        description="When the nightly job is due: a cron expression; with both a day of the month and a "
        "weekday it is due on either, as in cron. Weekdays are written as names.",
    )
    zone: ZoneName | None = Field(
        default=None, description="Time zone of the schedules; by default that of [data] time_zone."
    )
    retrain: str | None = Field(
        default=None, description="When to train again, e.g. `0 5 * * sun`; not set: by hand only."
    )
    job_limit_minutes: float = Field(
        default=360.0, description="A scheduled job that takes longer is stopped.", gt=0
    )
    on_failure: SecretStr | None = Field(
        default=None,
        description="Where to report a failed job: a shell command (JSON on its standard input), or a URL.",
    )
    max_data_age_hours: float | None = Field(
        default=48.0,
        description="A list whose newest play is older is `stale data`; 0 or `none`: any age, for data that "
        "do not grow.",
        ge=0,
    )
    metrics_address: str | None = Field(
        default=None,
        description="Where the scheduler serves its Prometheus metrics: a port, for this machine only, or "
        "`0.0.0.0:9095` for everyone, behind a firewall; not set: nowhere.",
    )

    @field_validator("max_data_age_hours", mode="before")
    @classmethod
    def _of_any_age(cls, value: Any) -> Any:
        return None if str(value).strip().casefold() in ("", "none", "0", "0.0") else value

    @field_validator("metrics_address", mode="before")
    @classmethod
    def _host_and_port(cls, value: Any) -> Any:
        if value is None:
            return None
        host, _, port = str(value).rpartition(":")
        if not (port.isascii() and port.isdecimal() and 1 <= int(port) <= 65_535):
            raise ValueError(f"{value!r}: write a port from 1 to 65535, or HOST:PORT")
        return f"{host or '127.0.0.1'}:{port}"

    @field_validator("cron", "retrain")
    @classmethod
    def _due(cls, value: str | None) -> str | None:
        if value is not None:
            # Only where a schedule is read: APScheduler takes a while to import.
            from nightreel.core.cron import require_coming

            require_coming(value)
        return value

    def zone_of(self, data: DataSettings) -> ZoneInfo:
        """The time zone of the schedules."""
        return ZoneInfo(self.zone or data.time_zone)
