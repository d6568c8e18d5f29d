"""The commands that make lists: of a night, of past nights, on a schedule, and all steps at once."""

import os
import sys
import time
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nightreel.cli.instants import parse_day, parse_instant
from nightreel.cli.options import (
    JSON,
    RUN_ID_MAX,
    AsOf,
    Force,
    Home,
    Publish,
    StepJson,
    Verbose,
    asked_for,
    use_home,
)
from nightreel.cli.root import app
from nightreel.cli.running import command_settings, engine_settings, import_feast, report_step
from nightreel.core.errors import InputError

if TYPE_CHECKING:
    from nightreel.core.settings import Settings
    from nightreel.core.settings.needs import NightNeeds
    from nightreel.core.steps import StepResult
    from scoring.database.score_facts import ScoreFacts

# The settings that a demo takes from the environment.
_SECTIONS_OF_LISTS = ("features", "retrieval", "ranker", "lists", "evaluation")


@app.command()
def score(
    as_of: AsOf = None,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="VERSION",
            show_default="the champion",
            help="Model that scores. `nightreel runs` prints the model and instant of each run.",
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
            max=RUN_ID_MAX,
            show_default="none",
            help="Score a run's night again: its instant, its model, and what had arrived by then.",
        ),
    ] = None,
    publish: Publish = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Score and audit, and write nothing to the database.")
    ] = False,
    as_json: StepJson = False,
    home: Home = None,
    verbose: Verbose = False,
    force: Force = False,
) -> None:
    """Score every user's candidates and publish the top-K lists; a replay of the past is only stored."""
    settings = engine_settings()
    instant, known = parse_instant(as_of), parse_instant(known_at, "--known-at")
    experiment = None
    if replay is not None:
        from scoring.database.kept_runs import night_of

        if instant or known or model:
            raise InputError(
                "--replay: the run itself fixes the instant and the model.", "Leave the rest out."
            )
        night = night_of(settings, replay)
        instant, model, known = night.as_of, night.model_version, night.known_at
        experiment = night.experiment
    if known is not None and instant is None:
        raise InputError("--known-at: only with --as-of.", "Add --as-of INSTANT, or use --replay RUN_ID.")
    import_feast()
    from scoring.database.dry_run import without_writing
    from scoring.database.publish import SCORE, score_and_publish

    def step(settings: "NightNeeds") -> "StepResult[ScoreFacts]":
        return score_and_publish(
            settings,
            as_of=instant,
            model_version=model,
            known_at=known,
            replay=replay is not None,
            publish=publish,
            # A dry run is made for its audits, so it scores again even if nothing has changed.
            force=force or dry_run,
            experiment=experiment,
        )

    report_step(lambda: without_writing(settings, step) if dry_run else step(settings), SCORE.name)


@app.command()
def backfill(
    first: Annotated[
        str, typer.Option("--from", metavar="DAY", help="First day whose lists are made, e.g. 2020-08-15.")
    ],
    last: Annotated[str, typer.Option("--to", metavar="DAY", help="Last day whose lists are made.")],
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="VERSION",
            show_default="for each day the newest that was fitted on earlier plays only",
            help="Model that scores.",
        ),
    ] = None,
    as_json: StepJson = False,
    home: Home = None,
    verbose: Verbose = False,
    force: Force = False,
) -> None:
    """Make the lists of past nights from what was known then; they are stored and counted, never shown."""
    settings = engine_settings()
    days = parse_day(first, "--from"), parse_day(last, "--to")
    import_feast()
    from nightreel.operations.backfill import backfill as step

    # The name has the number of days, because their duration is no estimate for another number.
    name = f"backfill of {(days[1] - days[0]).days + 1} days"
    report_step(lambda: step(settings, *days, model_version=model, force=force), name)


@app.command()
def run(
    as_of: AsOf = None,
    publish: Publish = False,
    as_json: StepJson = False,
    home: Home = None,
    verbose: Verbose = False,
    force: Force = False,
) -> None:
    """Do every step in order, from the raw files to the published lists; skip what has not changed."""
    from nightreel.operations.incoming import say_what_waits

    settings = engine_settings(makes_home=True)
    say_what_waits(settings.data)
    _run_all(settings, as_of=parse_instant(as_of), publish=publish, force=force)


@app.command()
def schedule(
    once: Annotated[
        bool, typer.Option("--once", help="Run the nightly job now, and exit with its code.")
    ] = False,
    retrain: Annotated[
        bool,
        typer.Option(
            "--retrain", help="With --once: train instead, and promote the model if it is not worse."
        ),
    ] = False,
    home: Home = None,
) -> None:
    """Run the nightly job, and training if it is scheduled, whenever due; in the foreground."""
    from nightreel.operations import jobs
    from nightreel.operations.night import command
    from nightreel.operations.schedule import run_once
    from nightreel.operations.schedule import schedule as run_forever

    settings = command_settings()
    if not once:
        if retrain:
            raise InputError("--retrain: only with --once.", "Set [schedule] retrain to train regularly.")
        run_forever(settings, command)
        return
    sys.exit(run_once(settings, command, jobs.RETRAIN if retrain else jobs.NIGHT))


@app.command()
def demo(
    home: Annotated[Path, typer.Option("--home", help="Folder that everything is written below.")] = Path(
        "demo"
    ),
    verbose: Verbose = False,
    force: Force = False,
) -> None:
    """Make a small KuaiRec-shaped data set, run every step on it, and show one user's list."""
    from nightreel.core import printing
    from nightreel.core.settings import SETTINGS_FILE
    from nightreel.operations import synthetic_home
    from scoring.database.show import user_list

    _leave_own_data_aside()
    use_home(home)
    home.mkdir(parents=True, exist_ok=True)
    if not (home / SETTINGS_FILE).exists():
        # The data is of 2020 and stays so.
        (home / SETTINGS_FILE).write_text(
            "[schedule]\nmax_data_age_hours = 0  # the data does not grow\n", encoding="utf-8"
        )
    settings = command_settings()
    started = time.monotonic()
    report_step(
        lambda: synthetic_home.prepare(settings.data.raw_dir, synthetic_home.DEMO, force=force), "synthesize"
    )
    _run_all(settings, as_of=None, publish=False, force=force)
    print(f"\nAll done in {time.monotonic() - started:.0f} s. The lists are in {settings.paths.sqlite}:")
    print(f"  sqlite3 {settings.paths.sqlite} \\")
    print('    "SELECT video_id, rank, score FROM latest_recommendation WHERE user_id = 14 ORDER BY rank"\n')
    print(f"User 14's list (nightreel show 14 --home {home}):")
    printing.print_table(user_list(settings, 14, 10))


def _leave_own_data_aside() -> None:
    """Unset all variables but those that say how lists are made, and name the settings among them.

    A demo touches nothing of the user's: neither their raw data nor their database nor their cluster.
    """
    from nightreel.core.settings import Settings
    from nightreel.core.settings.sources import from_environment, variables

    given = from_environment(Settings)
    kept = {one for name, (one, _) in given.items() if name.partition(".")[0] in _SECTIONS_OF_LISTS}
    aside = sorted({one for _, (one, _) in given.items()} - kept)
    for name in set(variables()) - kept:
        del os.environ[name]
    if aside:
        typer.echo(f"{', '.join(aside)}: not read, as a demo has data and a database of its own.", err=True)


def _run_all(settings: "Settings", *, as_of: datetime | None, publish: bool, force: bool) -> None:
    import_feast()
    from nightreel.api.steps import every_step
    from nightreel.core import printing
    from pipelines.report.line import verdict_line

    for name, step in every_step(settings, as_of=as_of, publish=publish, force=force):
        report_step(step, name)
    if JSON in asked_for:
        return
    print(f"\nVerdict: {printing.shown(verdict_line(settings))}")
    print("Look further: `nightreel report` writes the whole judgement, `nightreel browse` shows the lists.")
