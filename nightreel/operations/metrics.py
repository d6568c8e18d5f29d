"""The scheduler's figures for Prometheus, as text over HTTP; read from the database at each request."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Literal

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4
from prometheus_client.registry import Collector

from nightreel.core.errors import NightreelError
from nightreel.core.settings.needs import DatabaseNeeds, ScheduleNeeds
from nightreel.operations.status import DUE, FRESH, REPLAY, STALE_DATA, status
from scoring.database.connection import reading
from scoring.database.schema import recorded_version
from scoring.database.tables import FAILED
from scoring.database.url import database_exists
from scoring.outcomes.card import ArmFacts
from scoring.outcomes.scorecard import Night, arms_of_nights, as_facts, newest_judged, nights

_TIMEOUT_SECONDS = 5.0
_MOST_CONNECTIONS = 16
_UP = "1 where the database can be read."
# Figure: what it means, and its name among the facts of a night.
_REACH: Mapping[str, tuple[str, Literal["share_list", "share_popularity", "low", "high"]]] = {
    "reach": ("Share of the active users with a hit among the first of their list.", "share_list"),
    "reach_popularity": ("The same of yesterday's most liked videos.", "share_popularity"),
    "reach_low": ("Lower end of the 95 % interval of the difference of the two.", "low"),
    "reach_high": ("Its upper end.", "high"),
}


# For an arm: the meaning, and the name among the facts of an arm or of its difference from the first one.
_ARMS: Mapping[
    str, tuple[str, Literal["users", "played", "liked", "reached", "reached_liked", "sample_ratio_p"]]
] = {
    "users": ("Users with a list in the newest night.", "users"),
    "played": ("Rows played per active user and night.", "played"),
    "liked": ("Rows liked per active user and night.", "liked"),
    "reached": ("Share of active users who played something of their list.", "reached"),
    "reached_liked": ("Share of active users who liked something of their list.", "reached_liked"),
    "sample_ratio_p": ("Probability of arms this uneven if their shares hold.", "sample_ratio_p"),
}
_DIFFERENCES: Mapping[str, tuple[str, Literal["estimate", "low", "high"]]] = {
    "difference": ("An arm's figure less the first arm's, over all judged nights.", "estimate"),
    "difference_low": ("Lower end of its interval, which may be looked at every night.", "low"),
    "difference_high": ("Its upper end.", "high"),
}


class StatusCollector(Collector):
    """Prometheus gauges as of an instant; unknown figures are left out."""

    def __init__(self, settings: ScheduleNeeds, now: datetime) -> None:
        self._settings, self._now = settings, now

    def collect(self) -> Iterator[Metric]:
        """Read the database, and yield a gauge for each figure."""
        try:
            found = status(self._settings, self._now)
        except NightreelError:
            yield from _gauge("database_up", _UP, 0)
            return
        yield from _gauge("database_up", _UP, 1)
        shown, night = found.facts["shown"], found.facts["night"]
        for name, meaning, value in (
            ("list_fresh", "1 where the list that is due is there.", found.state == FRESH),
            ("list_due", "1 where tonight's list still has time.", found.state == DUE),
            (
                "data_stale",
                "1 where the newest play is older than max_data_age_hours.",
                found.state == STALE_DATA,
            ),
            (
                "replay_shown",
                "1 where apps read a replay that was published on purpose.",
                found.state == REPLAY,
            ),
            (
                "records_after_now",
                "Runs and jobs that say a later instant than now; at most the ten newest.",
                len(found.facts.get("after_now", [])),
            ),
            (
                "newest_play_timestamp_seconds",
                "When the newest play of the list happened.",
                shown and shown["newest_play_at"],
            ),
            ("run_id", "The run that apps read.", shown and shown["run_id"]),
            ("published_timestamp_seconds", "When it was published.", shown and shown["published_at"]),
            ("as_of_timestamp_seconds", "The instant as of which it was made.", shown and shown["as_of"]),
            ("users", "Users with a list.", shown and shown["users"]),
            ("rows", "Rows of the lists.", shown and shown["rows"]),
            ("next_due_timestamp_seconds", "The next night's.", found.facts["next_due"]),
            (
                "night_ok",
                "1 where the last night's job did not fail.",
                night is None or night["status"] != FAILED,
            ),
        ):
            yield from _gauge(name, meaning, value)
        yield from _outcomes(self._settings)
        of_stages = [
            ((stage,), seconds)
            for stage, seconds in ({} if night is None else night["seconds"]).items()
            if seconds is not None
        ]
        yield from _gauges("stage_seconds", "Seconds of each stage of the last night.", ("stage",), of_stages)


def metrics_text(settings: ScheduleNeeds, now: datetime) -> str:
    """All figures in Prometheus's text format."""
    registry = CollectorRegistry()
    registry.register(StatusCollector(settings, now))
    return generate_latest(registry).decode()


def _outcomes(settings: DatabaseNeeds) -> Iterator[Metric]:
    """The outcomes of the newest night that enough is known about; None before there is one."""
    night: Night | None = None
    arms: list[ArmFacts] = []
    with suppress(NightreelError):
        if database_exists(settings):
            with reading(settings) as connection:
                if recorded_version(connection) is not None:
                    night = newest_judged(connection, cells=True)
                    arms = arms_of_nights(connection, nights(connection))
    if night is None:
        return
    found = as_facts(night)
    for name, meaning, value in (
        (
            "out_of_band",
            "Figures of the night that fall out of the band of those before it.",
            len(night.band),
        ),
        ("run_id", "The newest run whose outcome is known.", found["run_id"]),
        ("active_users", "Users with a list who played anything.", found["active_users"]),
        ("shown", "Listed videos that were displayed, by the exposure log.", found["shown"]),
        ("played", "Listed videos that their users played.", found["played"]),
        ("liked", "Listed videos that their users liked.", found["liked"]),
        ("watch_seconds", "Time that they were watched.", found["watch_ms"] / 1_000),
        ("coverage", "Share of the known videos that are in a list.", found["coverage"]),
        ("fresh", "Share of the listed videos that were uploaded of late.", found["fresh"]),
    ):
        yield from _gauge(f"outcome_{name}", meaning, value)
    for name, (meaning, key) in _REACH.items():
        cells = [((one["hit"], str(one["depth"])), one[key]) for one in found["reach"]]
        yield from _gauges(f"outcome_{name}", meaning, ("hit", "depth"), cells)
    yield from _arms(arms)


def _arms(arms: Sequence[ArmFacts]) -> Iterator[Metric]:
    """The arms of the newest experiment, and how far each is from the first."""
    for name, (meaning, of_arm) in _ARMS.items():
        values = [((arm["arm"],), float(value)) for arm in arms if (value := arm[of_arm]) is not None]
        yield from _gauges(f"arm_{name}", meaning, ("arm",), values)
    for name, (meaning, key) in _DIFFERENCES.items():
        cells = [
            ((arm["arm"], figure), value)
            for arm in arms
            for figure, found in arm["against_first"].items()
            if (value := found[key]) is not None
        ]
        yield from _gauges(f"arm_{name}", meaning, ("arm", "figure"), cells)


def _gauge(name: str, meaning: str, value: float | datetime | None) -> Iterator[Metric]:
    number = value.timestamp() if isinstance(value, datetime) else value
    if number is not None:
        yield GaugeMetricFamily(f"nightreel_{name}", meaning, value=number)


def _gauges(
    name: str, meaning: str, labels: Sequence[str], values: Sequence[tuple[Sequence[str], float]]
) -> Iterator[Metric]:
    if values:
        family = GaugeMetricFamily(f"nightreel_{name}", meaning, labels=labels)
        for of_labels, value in values:
            family.add_metric(of_labels, value)
        yield family


@contextmanager
def served_metrics(settings: ScheduleNeeds) -> Iterator[int | None]:
    """Serve /metrics at `metrics_address` until the block ends; yields the port, None if none is set."""
    if settings.schedule.metrics_address is None:
        yield None
        return
    host, _, port = settings.schedule.metrics_address.rpartition(":")
    with _server((host, int(port)), lambda: metrics_text(settings, datetime.now(UTC))) as served:
        yield served


class _Server(ThreadingHTTPServer):
    """A server with a limit on connections; more are closed at once, so that none holds up the scheduler."""

    daemon_threads = True
    # Closing waits for no connection.
    block_on_close = False

    def __init__(self, address: tuple[str, int], handler: type[BaseHTTPRequestHandler]) -> None:
        super().__init__(address, handler)
        self._room = threading.BoundedSemaphore(_MOST_CONNECTIONS)

    def process_request(self, request: Any, client_address: Any) -> None:
        if not self._room.acquire(blocking=False):
            self.shutdown_request(request)
            return
        try:
            super().process_request(request, client_address)
        except BaseException:
            self._room.release()
            raise

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._room.release()


@contextmanager
def _server(address: tuple[str, int], text: Callable[[], str]) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        # A connection that says nothing is closed.
        timeout = _TIMEOUT_SECONDS

        def do_GET(self) -> None:
            found = self.path == "/metrics"
            body = text().encode() if found else b"Ask for /metrics.\n"
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", CONTENT_TYPE_PLAIN_0_0_4)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Requests are not logged."""

    server = _Server(address, Handler)
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
