"""The commands that report the state of a home, and those that maintain the database."""

import sys
from datetime import UTC, datetime

import typer

from nightreel.cli.options import AsJson, Home
from nightreel.cli.root import app
from nightreel.cli.running import command_settings


@app.command()
def status(as_json: AsJson = False, home: Home = None) -> None:
    """Say whether apps read last night's list, made from recent data; exit with 1 if they do not."""
    from nightreel.core import printing
    from nightreel.operations.status import NOT_FRESH
    from nightreel.operations.status import status as find_status
    from nightreel.operations.status_words import in_words

    settings, now = command_settings(), datetime.now(UTC)
    found = find_status(settings, now)
    if as_json:
        printing.print_json(found.facts)
    else:
        print(f"state: {found.state}")
        for line in in_words(found, settings.data, settings.schedule, now):
            print(printing.shown(line))
        print()
        for name, value in found.facts.items():
            if name == "state":
                continue
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
def doctor(as_json: AsJson = False, home: Home = None) -> None:
    """Check Python, packages, extras, data, disk, memory, database and freshness; exit with 1 on a fault."""
    from nightreel.core import logs, printing
    from nightreel.operations import doctor as inspections

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
    from nightreel.core import printing
    from nightreel.core.catalogue import catalogue_of
    from nightreel.core.catalogue.night import night_view

    settings = command_settings()
    night = night_view(settings.retrieval.sources.split(","))
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
        for view, one in (
            *catalogue_of(settings.data, settings.features).features(),
            *((night, one) for one in night.features),
        )
    ]
    if as_json:
        printing.print_json(rows)
    else:
        printing.print_table([{name: row[name] for name in row if name != "module"} for row in rows])


@app.command(name="settings")
def show_settings(as_json: AsJson = False, home: Home = None) -> None:
    """Print the effective settings and where each came from; secrets are masked."""
    from nightreel.core import printing
    from nightreel.core.settings import describe

    rows = describe(command_settings())
    if as_json:
        printing.print_json(rows)
    else:
        printing.print_table(rows)


database = typer.Typer(
    help="Manage the database of the lists.",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)


app.add_typer(database, name="db")


@database.command(name="upgrade")
def upgrade_database(as_json: AsJson = False, home: Home = None) -> None:
    """Upgrade the database's schema to this version of nightreel; nothing is lost."""
    from nightreel.core import printing
    from scoring.database.schema import upgrade_database as step
    from scoring.database.url import database_url, masked

    settings = command_settings()
    before, now = step(settings)
    if as_json:
        where = masked(database_url(settings))
        printing.print_json({"database": where, "version_before": before, "version": now})
        return
    was = "made new" if before is None else "already there" if before == now else f"from version {before}"
    print(f"{masked(database_url(settings))}: version {now}, {was}")
