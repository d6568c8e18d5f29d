"""The commands that lead from raw files to models and their judgement."""

import os
from pathlib import Path
from typing import Annotated

import typer

from nightreel.cli.options import Force, Home, RunId, StepJson, Verbose
from nightreel.cli.root import app
from nightreel.cli.running import command_settings, do_step, engine_settings, import_feast, report_step
from nightreel.core.errors import InputError


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
    as_json: StepJson = False,
    home: Home = None,
    verbose: Verbose = False,
    force: Force = False,
) -> None:
    """Make a KuaiRec-shaped data set with a known truth: seven CSV files."""
    from nightreel.operations import synthetic_home

    settings = command_settings(makes_home=True)
    request = synthetic_home.Request(
        users=users, videos=videos, interactions=interactions, days=days, seed=seed
    )
    report_step(
        lambda: synthetic_home.prepare(out or settings.data.raw_dir, request, force=force), "synthesize"
    )


@app.command()
def ingest(
    as_json: StepJson = False, home: Home = None, verbose: Verbose = False, force: Force = False
) -> None:
    """Check the raw CSV files and write them as validated tables; rejects are kept with their reason."""
    from nightreel.operations.incoming import say_what_waits
    from pipelines.ingest import INGEST

    settings = command_settings(makes_home=True, reads_raw=True)
    say_what_waits(settings.data)
    do_step(INGEST, settings, force=force)


@app.command()
def features(
    as_json: StepJson = False, home: Home = None, verbose: Verbose = False, force: Force = False
) -> None:
    """Build the parquet sources of the feature views, each value stamped when it became known."""
    settings = engine_settings()
    from pipelines.features import FEATURES

    do_step(FEATURES, settings, force=force)
    # The repository's own feature_store.yaml reads the files themselves. Feast takes seconds to import, and
    # is only asked where another file may name tables.
    if os.environ.get("FEAST_FS_YAML_FILE_PATH"):
        from feature_repo.open_store import fill_tables

        fill_tables(settings)


@app.command()
def train(
    as_json: StepJson = False, home: Home = None, verbose: Verbose = False, force: Force = False
) -> None:
    """Join features to interactions as of their time and fit the classifier and the regressor."""
    settings = engine_settings()
    import_feast()
    from pipelines.rankers import TRAIN

    do_step(TRAIN, settings, force=force)


@app.command()
def tune(
    trials: Annotated[int, typer.Option(min=1, help="Trials of the whole study, over all runs.")] = 40,
    minutes: Annotated[
        float, typer.Option(min=0, help="Start no trial that would not end within this many minutes.")
    ] = 30.0,
    write: Annotated[
        bool, typer.Option("--write", help="Write the best settings to nightreel.toml.")
    ] = False,
    as_json: StepJson = False,
    home: Home = None,
    verbose: Verbose = False,
) -> None:
    """Search for the rankers' settings that rank best on these data; continues where it was stopped."""
    settings = command_settings()
    import_feast()
    from pipelines.tuning import tune as step

    report_step(lambda: step(settings, trials=trials, minutes=minutes, write=write), "tune")
    if as_json:
        return
    best = (settings.paths.tuning / "best.toml").read_text(encoding="utf-8")
    typer.echo(f"\nFor nightreel.toml:\n\n{best}", nl=False)


@app.command()
def evaluate(
    policy: Annotated[
        str | None,
        typer.Option(
            metavar="VERSION",
            show_default="none",
            help="Instead, estimate the outcome of this model's lists from a run's randomly drawn rows "
            "([lists] explore_share).",
        ),
    ] = None,
    run_id: RunId = None,
    as_json: StepJson = False,
    home: Home = None,
    verbose: Verbose = False,
    force: Force = False,
) -> None:
    """Judge the lists of the last days, and compare the hybrid with its stages and with popularity."""
    settings = command_settings()
    if run_id is not None and policy is None:
        raise InputError("--run: only with --policy.", "Name a model, or leave it out.")
    import_feast()
    if policy is not None:
        from scoring.policy.evaluate import evaluate_policy

        report_step(lambda: evaluate_policy(settings, policy, run_id=run_id), "policy", changes_home=False)
        return
    from nightreel.api.steps import every_step
    from nightreel.operations.sequence import JUDGEMENT

    for name, step in every_step(settings, JUDGEMENT, force=force):
        report_step(step, name)


@app.command()
def report(
    as_json: StepJson = False, home: Home = None, verbose: Verbose = False, force: Force = False
) -> None:
    """Write the last evaluation as one HTML page, with JSON and CSV beside it."""
    settings = command_settings()
    import_feast()
    from pipelines.report import REPORT

    do_step(REPORT, settings, force=force)
