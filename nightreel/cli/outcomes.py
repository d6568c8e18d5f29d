"""The commands that report the outcomes of lists, and how far plays have moved since training."""

from typing import TYPE_CHECKING, Annotated

import typer

from nightreel.cli.options import AsJson, Home
from nightreel.cli.root import app
from nightreel.cli.running import command_settings, import_feast

if TYPE_CHECKING:
    from nightreel.operations.drift.stored import DriftNight


@app.command()
def scorecard(
    days: Annotated[int, typer.Option(min=1, max=36_500, help="Days to show, up to the last.")] = 30,
    replays: Annotated[
        bool, typer.Option("--replays", help="Show nights that were made again later, which no app read.")
    ] = False,
    update: Annotated[
        bool, typer.Option("--update", help="First count what has been played since, as each night does.")
    ] = False,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Report how each night's lists did: how many users they reached, beside yesterday's popularity."""
    from nightreel.core import printing
    from scoring.outcomes.card_rows import as_rows, rows_of_arms
    from scoring.outcomes.scorecard import scorecard as step

    settings = command_settings()
    if update:
        from scoring.outcomes import record_outcomes

        record_outcomes(settings)
    card = step(settings, days=days, replays=replays)
    if as_json:
        printing.print_json(card)
        return
    for line in card["alarms"]:
        print(f"out of the band: {printing.shown(line)}")
    if card["arms"]:
        printing.print_table(rows_of_arms(card["arms"]))
    if card["nights"]:
        printing.print_table(as_rows(card))
    else:
        print("no night has been counted yet: each scheduled night counts, and so does --update")


@app.command()
def drift(
    every: Annotated[
        bool, typer.Option("--all", help="Show every feature, not only what has moved since training.")
    ] = False,
    update: Annotated[
        bool, typer.Option("--update", help="First compare the newest day, as each night does.")
    ] = False,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Say how the newest day's features, scores and plays differ from those that trained the champion."""
    from nightreel.core import printing
    from nightreel.operations.drift.stored import nights

    settings = command_settings()
    if update:
        import_feast()
        from nightreel.operations.drift.recording import record_drift

        record_drift(settings)
    night = next(iter(nights(settings.paths)), None)
    if as_json:
        printing.print_json(night)
    elif night is None:
        print("no night has been compared yet: each scheduled night compares, and so does --update")
    else:
        _print_drift(night, every=every)


def _print_drift(night: "DriftNight", *, every: bool) -> None:
    from nightreel.core import printing

    moved = [column for column in night["columns"] if column["moved"]]
    plays, liked = night["plays"], night["liked"]
    print(f"plays of {night['night']}, beside the training window of model {night['model_version']}")
    print(f"plays: {plays['day']:,}, usual {plays['usual']:,.0f}{' (moved)' if plays['moved'] else ''}")
    was = f"in training {liked['training']:.1%}"
    print(f"liked: {liked['day']:.1%}, {was}{' (moved)' if liked['moved'] else ''}")
    print(f"features and scores: {len(moved)} of {len(night['columns'])} moved")
    printing.print_table(night["columns"] if every else moved)
