"""The scheduler's figures for Prometheus, as text over HTTP; read from the database at each request."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from nightreel.core.errors import NightreelError
from nightreel.core.settings import Settings
from nightreel.operations.jobs import NIGHT
from nightreel.operations.status import DUE, FRESH, REPLAY, STALE_DATA, status
from scoring.database.connection import database_exists, reading
from scoring.database.schema import recorded_version
from scoring.outcomes.scorecard import as_facts, newest_judged

_TIMEOUT_SECONDS = 5.0
_MOST_CONNECTIONS = 16
_REACH = {
    "reach": "Share of the active users with a hit among the first of their list.",
    "reach_popularity": "The same of yesterday's most liked videos.",
    "reach_low": "Lower end of the 95 % interval of the difference of the two.",
    "reach_high": "Its upper end.",
}


def metrics_text(settings: Settings, now: datetime) -> str:
    """All figures in Prometheus' text format; those that are not known are left out."""
    try:
        found = status(settings, now)
    except NightreelError:
        return _lines({"nightreel_database_up": ("1 where the database can be read.", 0)})
    shown, night = found.facts["shown"] or {}, found.facts[NIGHT] or {}
    return (
        _lines(
            {
                "nightreel_database_up": ("1 where the database can be read.", 1),
                "nightreel_list_fresh": ("1 where the list that is due is there.", int(found.state == FRESH)),
                "nightreel_list_due": ("1 where tonight's list still has time.", int(found.state == DUE)),
                "nightreel_data_stale": (
                    "1 where the newest play is older than max_data_age_hours.",
                    int(found.state == STALE_DATA),
                ),
                "nightreel_replay_shown": (
                    "1 where apps read a replay that was published on purpose.",
                    int(found.state == REPLAY),
                ),
                "nightreel_records_after_now": (
                    "Runs and jobs that say a later instant than now; at most the ten newest.",
                    len(found.facts.get("after_now", [])),
                ),
                "nightreel_newest_play_timestamp_seconds": (
                    "When the newest play of the list happened.",
                    shown.get("newest_play_at"),
                ),
                "nightreel_run_id": ("The run that apps read.", shown.get("run_id")),
                "nightreel_published_timestamp_seconds": (
                    "When it was published.",
                    shown.get("published_at"),
                ),
                "nightreel_as_of_timestamp_seconds": ("The instant that it was made of.", shown.get("as_of")),
                "nightreel_users": ("Users with a list.", shown.get("users")),
                "nightreel_rows": ("Rows of the lists.", shown.get("rows")),
                "nightreel_next_due_timestamp_seconds": ("The next night's.", found.facts["next_due"]),
                "nightreel_night_ok": (
                    "1 where the last night's job did not fail.",
                    int(night.get("status") != "failed"),
                ),
            }
        )
        + _outcomes(settings)
        + "".join(
            f'nightreel_stage_seconds{{stage="{stage}"}} {seconds}\n'
            for stage, seconds in (night.get("seconds") or {}).items()
        )
    )


def _outcomes(settings: Settings) -> str:
    """What was made of the newest night of which enough is known; none before there is one."""
    try:
        if not database_exists(settings):
            return ""
        with reading(settings) as connection:
            if recorded_version(connection) is None:
                return ""
            night = newest_judged(connection, cells=True)
    except NightreelError:
        return ""
    if night is None:
        return ""
    found = as_facts(night)
    figures = {
        "out_of_band": (
            "Figures of the night that fall out of the band of those before it.",
            len(night.band),
        ),
        "run_id": ("The newest run whose outcome is known.", found["run_id"]),
        "active_users": ("Users with a list who played anything.", found["active_users"]),
        "played": ("Listed videos that their users played.", found["played"]),
        "liked": ("Listed videos that their users liked.", found["liked"]),
        "watch_seconds": ("Time that they were watched.", found["watch_ms"] / 1_000),
        "coverage": ("Share of the known videos that stand in a list.", found["coverage"]),
        "fresh": ("Share of the listed videos that were uploaded of late.", found["fresh"]),
    }
    text = _lines({f"nightreel_outcome_{name}": figure for name, figure in figures.items()})
    for name, meaning in _REACH.items():
        text += f"# HELP nightreel_outcome_{name} {meaning}\n# TYPE nightreel_outcome_{name} gauge\n"
        key = {"reach": "share_list", "reach_popularity": "share_popularity"}.get(name, name[6:])
        text += "".join(
            f'nightreel_outcome_{name}{{hit="{one["hit"]}",depth="{one["depth"]}"}} {one[key]}\n'
            for one in found["reach"]
        )
    return text


def _lines(figures: dict[str, tuple[str, Any]]) -> str:
    text = ""
    for name, (meaning, value) in figures.items():
        number = value.timestamp() if isinstance(value, datetime) else value
        if number is not None:
            text += f"# HELP {name} {meaning}\n# TYPE {name} gauge\n{name} {number}\n"
    return text


@contextmanager
def served_metrics(settings: Settings) -> Iterator[int | None]:
    """Serve /metrics at `metrics_port` until the block ends; yields the port, None where none is set."""
    if settings.schedule.metrics_port is None:
        yield None
        return
    with _server(
        settings, settings.schedule.metrics_port, lambda: metrics_text(settings, datetime.now(UTC))
    ) as port:
        yield port


class _Server(ThreadingHTTPServer):
    """So many connections at a time; those beyond are closed at once, so that none holds the scheduler up."""

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
def _server(settings: Settings, port: int, text: Callable[[], str]) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        # A connection that says nothing is let go.
        timeout = _TIMEOUT_SECONDS

        def do_GET(self) -> None:
            found = self.path == "/metrics"
            body = text().encode() if found else b"Ask for /metrics.\n"
            self.send_response(200 if found else 404)
            self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Requests are not logged."""

    server = _Server((settings.schedule.metrics_host, port), Handler)
    thread = threading.Thread(target=server.serve_forever, name="metrics", daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
