"""The `nightreel` command: parses, calls a step, prints. Heavy imports wait until a command needs them."""

import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nightreel import __version__
from nightreel.clock import UNIX_PER_SECOND, UNIX_UNITS, require_not_future
from nightreel.errors import InputError, NightreelError

if TYPE_CHECKING:
    from nightreel.artefacts import StepResult
    from nightreel.settings import Settings

# implicit's ALS is slowed tenfold by a threaded BLAS; this must be set before NumPy is first imported.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
# LightGBM's threads otherwise spin while they wait: on a busy machine training took 414 s instead of 120 s.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

_PATHS = "paths"
# What this command is to print beside what matters.
_asked_for: set[str] = set()

app = typer.Typer(
    name="nightreel",
    help="Turn a short-video app's interaction logs into each user's top-K list in a SQL table, every night.",
    epilog="Settings come from nightreel.toml and NIGHTREEL_* variables; `nightreel settings` shows them.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _use_home(value: Path | None) -> Path | None:
    # Through the environment, so that the Feast repository in this process resolves the same home.
    if value is not None:
        from nightreel.settings import url_of

        os.environ["NIGHTREEL_HOME"] = url_of(value) or str(value.expanduser().resolve())
    return value


Home = Annotated[
    Path | None,
    typer.Option(
        "--home",
        callback=_use_home,
        show_default="NIGHTREEL_HOME, else the folder of the nearest nightreel.toml, else this folder",
        help="Folder that everything is written below.",
    ),
]


def _show_paths(value: bool) -> bool:
    if value:
        _asked_for.add(_PATHS)
    return value


Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", callback=_show_paths, help="Print the paths read and written too.")
]
Force = Annotated[bool, typer.Option("--force", help="Redo the work even where nothing has changed.")]
# What the columns of both databases hold.
_ID_MAX, _RUN_ID_MAX = 2**63 - 1, 2**31 - 1
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for machines.")]
AsOf = Annotated[
    str | None,
    typer.Option(
        "--as-of",
        metavar="INSTANT",
        show_default="the end of the data's last day",
        help="Score with what was known at this instant, e.g. 2020-08-15T02:00:00+08:00. Lists of an earlier "
        "instant than by default are a replay: stored, not shown.",
    ),
]
Publish = Annotated[
    bool, typer.Option("--publish", help="Show the lists to apps even where they are a replay.")
]
RunId = Annotated[
    int | None,
    typer.Option(
        "--run",
        metavar="RUN_ID",
        max=_RUN_ID_MAX,
        show_default="the one that apps read",
        help="A run that is kept.",
    ),
]


def _print_version(value: bool) -> None:
    if value:
        print(f"nightreel {__version__}")
        raise typer.Exit


@app.callback()
def _shared(
    home: Home = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    verbose: Verbose = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks and debug logs.")] = False,
) -> None:
    _asked_for.clear()
    _show_paths(verbose)
    if debug:
        os.environ["NIGHTREEL_DEBUG_TRACEBACKS"] = "1"


@app.command()
def synthesize(
    users: Annotated[int, typer.Option(help="Users.")] = 7_176,
    videos: Annotated[int, typer.Option(help="Videos.")] = 10_728,
    interactions: Annotated[int, typer.Option(help="Rows of big_matrix.csv.")] = 12_530_806,
    days: Annotated[int, typer.Option(help="Days from the first to the last.")] = 63,
    seed: Annotated[int, typer.Option(help="The same seed gives the same files.")] = 20200705,
    out: Annotated[
        Path | None,
        typer.Option(show_default="the setting raw_dir", help="Folder to write the CSV files to."),
    ] = None,
    home: Home = None,
    verbose: Verbose = False,
    force: Force = False,
) -> None:
    """Make a KuaiRec-shaped data set with a known truth: seven CSV files."""
    from nightreel import synthetic_home

    settings = _settings(makes_home=True)
    request = synthetic_home.Request(
        users=users, videos=videos, interactions=interactions, days=days, seed=seed
    )
    _report(lambda: synthetic_home.prepare(out or settings.raw_dir, request, force=force))


@app.command()
def ingest(home: Home = None, verbose: Verbose = False, force: Force = False) -> None:
    """Check the raw CSV files and write them as validated tables; rejects are kept with their reason."""
    from pipelines.ingest import ingest as step

    settings = _settings(makes_home=True, reads_raw=True)
    _report(lambda: step(settings, force=force))


@app.command()
def features(home: Home = None, verbose: Verbose = False, force: Force = False) -> None:
    """Build the parquet sources of the feature views, each value stamped when it became known."""
    settings = _engine_settings()
    from pipelines.features import build_features as step

    _report(lambda: step(settings, force=force))
    # The repository's own feature_store.yaml reads the files themselves. Feast takes seconds to import, and
    # is only asked where another file may name tables.
    if os.environ.get("FEAST_FS_YAML_FILE_PATH"):
        from feature_repo.open_store import fill_tables

        fill_tables(settings)


@app.command()
def train(home: Home = None, verbose: Verbose = False, force: Force = False) -> None:
    """Join features to interactions as of their time and fit the classifier and the regressor."""
    settings = _engine_settings()
    _import_feast()
    from pipelines.rankers import train as step

    _report(lambda: step(settings, force=force))


@app.command()
def tune(
    trials: Annotated[int, typer.Option(min=1, help="Trials of the whole study, over all runs.")] = 40,
    minutes: Annotated[
        float, typer.Option(min=0, help="No trial is begun that would not end within so many minutes.")
    ] = 30.0,
    write: Annotated[
        bool, typer.Option("--write", help="Put the best settings into nightreel.toml.")
    ] = False,
    home: Home = None,
    verbose: Verbose = False,
) -> None:
    """Search the rankers' settings that rank best on this data; goes on where it was stopped."""
    settings = _settings()
    _import_feast()
    from pipelines.tuning import tune as step

    _report(lambda: step(settings, trials=trials, minutes=minutes, write=write))
    best = (settings.paths.tuning / "best.toml").read_text(encoding="utf-8")
    typer.echo(f"\nFor nightreel.toml:\n\n{best}", nl=False)


@app.command()
def evaluate(home: Home = None, verbose: Verbose = False, force: Force = False) -> None:
    """Judge the lists of the last days, and compare the hybrid with its stages and with popularity."""
    settings = _settings()
    _import_feast()
    from pipelines.evaluate import evaluate as step
    from scoring.backtest import backtest

    _report(lambda: backtest(settings, force=force))
    _report(lambda: step(settings, force=force))


@app.command()
def report(home: Home = None, verbose: Verbose = False, force: Force = False) -> None:
    """Write the last evaluation as one HTML page, with JSON and CSV beside it."""
    settings = _settings()
    _import_feast()
    from pipelines.report import report as step

    _report(lambda: step(settings, force=force))


@app.command()
def score(
    as_of: AsOf = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="VERSION",
            show_default="the champion",
            help="Model that scores; with --as-of and what `nightreel runs` tells, a night again.",
        ),
    ] = None,
    known_at: Annotated[
        str | None,
        typer.Option(
            "--known-at",
            metavar="INSTANT",
            show_default="what the newest run of that --as-of knew, else all",
            help="With --as-of: use only what had arrived in `incoming` by this instant.",
        ),
    ] = None,
    replay: Annotated[
        int | None,
        typer.Option(
            "--replay",
            metavar="RUN_ID",
            max=_RUN_ID_MAX,
            show_default="none",
            help="Score a run's night again: its instant, its model, and what had arrived by then.",
        ),
    ] = None,
    publish: Publish = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Score and audit, and write nothing to the database.")
    ] = False,
    home: Home = None,
    verbose: Verbose = False,
    force: Force = False,
) -> None:
    """Score every user's candidates and publish the top-K lists; a replay of the past is only stored."""
    settings = _engine_settings()
    instant, known = _instant(as_of), _instant(known_at, "--known-at")
    if replay is not None:
        from scoring.kept_runs import night_of

        if instant or known or model:
            raise InputError(
                "--replay: the run itself says as of when, with which model.", "Leave the rest out."
            )
        night = night_of(settings, replay)
        instant, model, known = night.as_of, night.model_version, night.known_at
    if known is not None and instant is None:
        raise InputError("--known-at: only with --as-of.", "Add --as-of INSTANT, or use --replay RUN_ID.")
    _import_feast()
    from scoring.dry_run import without_writing
    from scoring.publish import score_and_publish

    def step(settings: "Settings") -> "StepResult":
        return score_and_publish(
            settings,
            as_of=instant,
            model_version=model,
            known_at=known,
            replay=replay is not None,
            publish=publish,
            # A dry run is asked for its audits, also of what was scored before.
            force=force or dry_run,
        )

    _report(lambda: without_writing(settings, step) if dry_run else step(settings))


@app.command()
def backfill(
    first: Annotated[
        str, typer.Option("--from", metavar="DAY", help="First day whose lists are made, e.g. 2020-08-15.")
    ],
    last: Annotated[str, typer.Option("--to", metavar="DAY", help="Last such day.")],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="VERSION",
            show_default="for each day the newest that was fitted on earlier plays only",
            help="Model that scores.",
        ),
    ] = None,
    home: Home = None,
    verbose: Verbose = False,
    force: Force = False,
) -> None:
    """Make the lists of past nights as they would have been known then; stored and counted, never shown."""
    settings = _engine_settings()
    days = _day(first, "--from"), _day(last, "--to")
    _import_feast()
    from scoring.backfill import backfill as step

    _report(lambda: step(settings, *days, model_version=model, force=force))


@app.command()
def run(
    as_of: AsOf = None,
    publish: Publish = False,
    home: Home = None,
    verbose: Verbose = False,
    force: Force = False,
) -> None:
    """Do all of it: ingest, features, feast apply, train, evaluate, score."""
    _run_all(_engine_settings(makes_home=True), as_of=_instant(as_of), publish=publish, force=force)


@app.command()
def show(
    user_id: Annotated[
        int, typer.Argument(min=-_ID_MAX - 1, max=_ID_MAX, help="The user whose list to show.")
    ],
    limit: Annotated[int, typer.Option(min=1, max=_ID_MAX, help="Rows to show.")] = 10,
    run_id: RunId = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Show a user's list: captions, categories, each stage's score, where each row came from."""
    from nightreel import printing
    from scoring.show import user_list

    rows = user_list(_settings(), user_id, limit, run_id=run_id)
    if as_json:
        printing.print_json(rows)
    else:
        printing.print_table(rows)


database = typer.Typer(
    help="Keep the database of the lists.", no_args_is_help=True, rich_markup_mode=None, add_completion=False
)
app.add_typer(database, name="db")


@database.command(name="upgrade")
def upgrade_database(home: Home = None) -> None:
    """Bring the database's schema to this version of nightreel; nothing is lost."""
    from scoring.database import database_url, masked
    from scoring.schema import upgrade_database as step

    settings = _settings()
    before, now = step(settings)
    was = "made new" if before is None else "already there" if before == now else f"from version {before}"
    print(f"{masked(database_url(settings))}: version {now}, {was}")


@app.command()
def runs(as_json: AsJson = False, home: Home = None) -> None:
    """List the runs that are kept, newest first, and which of them apps read."""
    from nightreel import printing
    from scoring.history import list_runs

    rows = list_runs(_settings())
    if as_json:
        printing.print_json(rows)
    elif not rows:
        print("no runs yet")
    else:
        printing.print_table([{name: row[name] for name in row if name != "stages"} for row in rows])


@app.command()
def scorecard(
    days: Annotated[
        int, typer.Option(min=1, max=36_500, help="Nights of so many days, up to the last.")
    ] = 30,
    replays: Annotated[
        bool, typer.Option("--replays", help="Nights that were made again later, which no app read.")
    ] = False,
    update: Annotated[
        bool, typer.Option("--update", help="Count first what has been played since; each night does.")
    ] = False,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Say what was made of each night's lists: whom they reached, beside yesterday's popularity."""
    from nightreel import printing
    from scoring.outcomes.scorecard import as_rows
    from scoring.outcomes.scorecard import scorecard as step

    settings = _settings()
    if update:
        from scoring.outcomes import record_outcomes

        record_outcomes(settings)
    card = step(settings, days=days, replays=replays)
    if as_json:
        printing.print_json(card)
        return
    for line in card["alarms"]:
        print(f"out of the band: {printing.shown(line)}")
    if card["nights"]:
        printing.print_table(as_rows(card))
    else:
        print("no night has been counted yet: each scheduled night counts, and so does --update")


@app.command()
def compare(
    run_id: Annotated[int, typer.Argument(max=_RUN_ID_MAX, help="A run that is kept, published or stored.")],
    other_id: Annotated[
        int | None,
        typer.Argument(
            metavar="[OTHER]", max=_RUN_ID_MAX, show_default="the one that apps read", help="Another."
        ),
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Say how far the lists of two runs agree."""
    from nightreel import printing
    from scoring.compare import compare as step

    found = step(_settings(), run_id, other_id)
    if as_json:
        printing.print_json(found)
    else:
        printing.print_table([{"what": name.replace("_", " "), "value": found[name]} for name in found])


@app.command()
def export(
    file: Annotated[Path, typer.Argument(help="File to write, .csv or .parquet.")],
    run_id: RunId = None,
    home: Home = None,
) -> None:
    """Write all lists of a run to a file, by user and rank."""
    from nightreel import printing
    from scoring.export import export as step

    started = time.monotonic()
    result = step(_settings(), file, run_id)
    printing.print_result(result, time.monotonic() - started)


@app.command()
def rollback(
    run_id: Annotated[
        int, typer.Argument(max=_RUN_ID_MAX, help="The run to show again; `nightreel runs` lists them.")
    ],
    home: Home = None,
) -> None:
    """Show an earlier run's lists again, at once; the next published run is shown as ever."""
    from scoring.history import rollback as step

    before = step(_settings(), run_id)
    print(f"run {run_id} is shown" + (" already" if before == run_id else f", instead of run {before}"))


@app.command()
def forget(
    user_id: Annotated[
        int, typer.Argument(min=-_ID_MAX - 1, max=_ID_MAX, help="The user to forget; this cannot be undone.")
    ],
    retrain: Annotated[
        bool, typer.Option("--retrain", help="Train anew without them, and remove the models before.")
    ] = False,
    home: Home = None,
) -> None:
    """Remove a user from raw files, deliveries, tables, features and all lists; keep a record of how much."""
    settings = _settings()
    _import_feast()
    from nightreel.forgetting import forget as step

    _report(lambda: step(settings, user_id, retrain=retrain))


@app.command()
def schedule(
    once: Annotated[
        bool, typer.Option("--once", help="Run the nightly job now, and exit with its code.")
    ] = False,
    retrain: Annotated[
        bool, typer.Option("--retrain", help="With --once: train instead, and promote if not worse.")
    ] = False,
    home: Home = None,
) -> None:
    """Run the nightly job, and the training where it is set, whenever due; in the foreground."""
    from nightreel.night import command
    from scoring import jobs
    from scoring.schedule import run_once
    from scoring.schedule import schedule as run_forever

    settings = _settings()
    if not once:
        if retrain:
            raise InputError("--retrain: only with --once.", "Set retrain_schedule to train regularly.")
        run_forever(settings, command)
        return
    sys.exit(run_once(settings, command, jobs.RETRAIN if retrain else jobs.NIGHT))


@app.command()
def status(as_json: AsJson = False, home: Home = None) -> None:
    """Say whether apps read last night's list, of data not too old; exit with 1 where they do not."""
    from nightreel import printing
    from scoring.status import NOT_FRESH
    from scoring.status import status as find_status

    found = find_status(_settings(), datetime.now(UTC))
    if as_json:
        printing.print_json(found.facts)
    else:
        for name, value in found.facts.items():
            if isinstance(value, list):
                print(f"{name.replace('_', ' ')}: {printing.shown('; '.join(value))}")
            elif isinstance(value, dict):
                print(f"{name}:")
                printing.print_table(
                    [{"what": key, "value": said} for key, said in value.items()], indent="  "
                )
            else:
                print(f"{name.replace('_', ' ')}: {'-' if value is None else printing.shown(value)}")
    sys.exit(1 if found.state in NOT_FRESH else 0)


@app.command()
def browse(
    host: Annotated[
        str, typer.Option(help="Address to serve on; another than this machine's own lets others read.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to serve on; 0: any free one.")] = 8380,
    home: Home = None,
) -> None:
    """Serve a page to look at the lists, for this machine only unless told otherwise; Ctrl-C ends it."""
    from nightreel.browse.serve import serve

    serve(_settings(), host, port)


@app.command()
def doctor(as_json: AsJson = False, home: Home = None) -> None:
    """Check Python, packages, extras, data, disk, memory, database and freshness; exit with 1 if wrong."""
    from nightreel import doctor as inspections
    from nightreel import logs, printing

    logs.configure()
    findings = inspections.inspect_all()
    if as_json:
        printing.print_json(inspections.as_rows(findings))
    else:
        for finding in findings:
            print(f"{finding.state:<8} {finding.inspection}: {printing.shown(finding.found)}")
            if finding.remedy:
                print(f"{'':<8} -> {printing.shown(finding.remedy)}")
    sys.exit(0 if inspections.is_sound(findings) else 1)


@app.command()
def catalogue(as_json: AsJson = False, home: Home = None) -> None:
    """List every feature: its view, type and kind, what it means, and how it is computed."""
    from nightreel import printing
    from nightreel.catalogue import catalogue_of
    from nightreel.catalogue.night import night_view

    settings = _settings()
    night = night_view(settings.retrieval_sources.split(","))
    rows = [
        {
            "feature": one.name,
            "view": view.name,
            "entity": one.entity,
            "type": one.type,
            "kind": one.kind,
            "ranked": one.ranked,
            "meaning": one.description,
            "computed": one.computed,
            "module": view.module or None,
        }
        for view, one in (*catalogue_of(settings).features(), *((night, one) for one in night.features))
    ]
    if as_json:
        printing.print_json(rows)
    else:
        printing.print_table([{name: row[name] for name in row if name != "module"} for row in rows])


@app.command(name="settings")
def show_settings(as_json: AsJson = False, home: Home = None) -> None:
    """Print the effective settings and where each came from; secrets are masked."""
    from nightreel import printing
    from nightreel.settings import describe

    rows = describe(_settings())
    if as_json:
        printing.print_json(rows)
    else:
        printing.print_table(rows)


@app.command()
def demo(
    home: Annotated[Path, typer.Option("--home", help="Folder that everything is written below.")] = Path(
        "demo"
    ),
    verbose: Verbose = False,
    force: Force = False,
) -> None:
    """Make a small KuaiRec-shaped data set and do everything with it, then show one user's list."""
    from nightreel import printing, synthetic_home
    from nightreel.settings import SETTINGS_FILE
    from scoring.show import user_list

    # A demo touches nothing of the user's: neither their raw data nor their database.
    for name in [name for name in os.environ if name.upper().startswith("NIGHTREEL_")]:
        del os.environ[name]
    _use_home(home)
    home.mkdir(parents=True, exist_ok=True)
    if not (home / SETTINGS_FILE).exists():
        # The data is of 2020 and stays so.
        (home / SETTINGS_FILE).write_text(
            "max_data_age_hours = 0  # the data does not grow\n", encoding="utf-8"
        )
    settings = _settings()
    started = time.monotonic()
    _report(lambda: synthetic_home.prepare(settings.raw_dir, synthetic_home.DEMO, force=force))
    _run_all(settings, as_of=None, publish=False, force=force)
    print(f"\nAll done in {time.monotonic() - started:.0f} s. The lists are in {settings.paths.sqlite}:")
    print(f"  sqlite3 {settings.paths.sqlite} \\")
    print('    "SELECT video_id, rank, score FROM latest_recommendation WHERE user_id = 14 ORDER BY rank"\n')
    print(f"User 14's list (nightreel show 14 --home {home}):")
    printing.print_table(user_list(settings, 14, 10))


def _run_all(settings: "Settings", *, as_of: datetime | None, publish: bool, force: bool) -> None:
    _import_feast()
    from feature_repo.open_store import apply_definitions
    from pipelines.evaluate import evaluate
    from pipelines.features import build_features
    from pipelines.ingest import ingest
    from pipelines.rankers import train
    from scoring.backtest import backtest
    from scoring.publish import score_and_publish

    _report(lambda: ingest(settings, force=force))
    _report(lambda: build_features(settings, force=force))
    _report(lambda: apply_definitions(settings))
    _report(lambda: train(settings, force=force))
    _report(lambda: backtest(settings, force=force))
    _report(lambda: evaluate(settings, force=force))
    _report(lambda: score_and_publish(settings, as_of=as_of, publish=publish, force=force))


def _settings(*, makes_home: bool = False, reads_raw: bool = False) -> "Settings":
    """The settings in force.

    makes_home: of a command that may begin a new home; reads_raw: and that needs raw files, which then cannot
    lie in it.
    """
    from nightreel import logs
    from nightreel.settings import load_settings, require_home

    logs.configure()
    settings = load_settings()
    of_itself = reads_raw and settings.raw_url is None and settings.home in settings.raw_dir.parents
    require_home(settings, may_be_new=makes_home and not of_itself)
    if settings.home_url is None and settings.raw_url is None:
        return settings
    from nightreel.mirror import fetch

    fetch(settings)
    # What came with the home may say more.
    return load_settings()


def _engine_settings(*, makes_home: bool = False) -> "Settings":
    """The settings of a command that works on the engine, which is known to be there."""
    from nightreel.extras import require_extras

    settings = _settings(makes_home=makes_home, reads_raw=makes_home)
    require_extras(settings)
    return settings


def _import_feast() -> None:
    """Import Feast as feature_repo does, and only where nothing is left to refuse: it takes seconds."""
    import feature_repo  # noqa: F401


def _report(step: "Callable[[], StepResult]") -> None:
    from nightreel import printing

    started = time.monotonic()
    result = step()
    seconds = time.monotonic() - started
    printing.print_result(result, seconds, paths=_PATHS in _asked_for)
    sys.stdout.flush()
    if result.wrote and not result.skipped:
        _note_timing(result.step, seconds)
    _send()


def _send() -> None:
    from nightreel.settings import load_settings

    settings = load_settings()
    if settings.home_url is not None or settings.raw_url is not None:
        from nightreel.mirror import send

        send(settings)


def _note_timing(step: str, seconds: float) -> None:
    """Keep the seconds and the peak memory of a step's last run, for the report."""
    import json
    import resource

    from nightreel.artefacts import atomic_write
    from nightreel.disk import DiskFullError
    from nightreel.settings import load_settings

    path = load_settings().paths.state / "timings.json"
    try:
        known = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = {}
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024  # of the process so far
    known[step] = {"seconds": round(seconds, 1), "process_peak_mb": peak_mb}
    # The step is done, and what the report says of its seconds is no reason to fail.
    with suppress(DiskFullError), atomic_write(path) as temporary:
        temporary.write_text(json.dumps(known, indent=1), encoding="utf-8")


def _places() -> list[Path]:
    """Where this command may have written."""
    from nightreel.settings import load_settings

    try:
        settings = load_settings()
    except NightreelError:
        return [Path.cwd()]
    return [settings.home, settings.raw_dir, Path.cwd()]


def _keep_list_readable() -> None:
    from nightreel.settings import load_settings
    from scoring.database import keep_readable

    with suppress(NightreelError):
        keep_readable(load_settings())


def _instant(text: str | None, option: str = "--as-of") -> datetime | None:
    if text is None:
        return None
    try:
        instant = datetime.fromisoformat(text)
        if instant.tzinfo is not None:
            instant.astimezone(UTC)  # the first and the last day may not exist there
    except (ValueError, OverflowError):
        raise InputError(f"{option} {text}: not an instant.", _written_as(text)) from None
    if instant.tzinfo is None:
        whole = instant.isoformat()
        raise InputError(
            f"{option} {text}: the zone is missing.", f"Write it like {whole}+08:00, or {whole}Z."
        )
    # Before anything is made of it: `run` would find out an hour later.
    require_not_future(option, instant, datetime.now(UTC))
    return instant


def _day(text: str, option: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError(f"{option} {text}: not a day.", "Write it like 2020-08-15.") from None


def _written_as(text: str) -> str:
    """How to write an instant, by the example of what was given where that is a Unix time."""
    with suppress(ValueError, OverflowError, OSError):
        number = float(text)
        unit = next((unit for unit, least in UNIX_UNITS.items() if number >= least), None)
        if unit is not None:
            instant = datetime.fromtimestamp(number / UNIX_PER_SECOND[unit], UTC)
            return f"These Unix {unit} are written {instant.replace(tzinfo=None).isoformat()}Z."
    return "Write it like 2020-08-15T02:00:00+08:00."


def main() -> None:
    """Run the command line; every failure is one line with a remedy and an exit code."""
    from nightreel.printing import print_error
    from nightreel.terminal import StandardOutputError, drop_output, guard_streams

    guard_streams()
    exit_code = _run()
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except StandardOutputError as error:
        drop_output()
        print_error(str(error))
        exit_code = exit_code or error.exit_code
    except BrokenPipeError:
        drop_output()
        exit_code = exit_code or 1
    sys.exit(exit_code)


def _run() -> int | str | None:
    """Run the command, say what failed, and return what to exit with."""
    from nightreel.disk import DiskFullError, disk_full, full_path, is_disk_full
    from nightreel.printing import print_error
    from nightreel.terminal import StandardOutputError, drop_output

    try:
        app()
    except SystemExit as ended:
        return ended.code
    except NightreelError as error:
        if os.environ.get("NIGHTREEL_DEBUG_TRACEBACKS"):
            raise
        if isinstance(error, StandardOutputError):
            drop_output()
        print_error(str(error))
        if isinstance(error, DiskFullError):
            _keep_list_readable()
        return error.exit_code
    except KeyboardInterrupt:
        print_error("stopped. What was finished stays; the same command goes on from there.")
        return 130
    except BrokenPipeError:
        # The reader of our output went away, as `| head` does.
        drop_output()
        return 1
    except Exception as error:
        if os.environ.get("NIGHTREEL_DEBUG_TRACEBACKS"):
            raise
        if is_disk_full(error):
            print_error(str(disk_full(full_path(error, *_places()), error)))
            _keep_list_readable()
        else:
            print_error(f"unexpected {type(error).__name__}: {error}. `nightreel --debug ...` shows where.")
        return 1
    return 0
