"""The commands that keep the owner's rules for lists."""

from typing import Annotated

import typer

from nightreel.cli.instants import parse_instant
from nightreel.cli.options import ANY_ID, RUN_ID_MAX, AsJson, Home
from nightreel.cli.root import app
from nightreel.cli.running import command_settings
from nightreel.core.errors import InputError

rules = typer.Typer(
    help="Manage the rules that change the model's order (docs/rules.md).",
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
)


app.add_typer(rules, name="rules")


@rules.command(name="list")
def list_rules(as_json: AsJson = False, home: Home = None) -> None:
    """List the rules, and which of them are in force now."""
    from nightreel.core import printing
    from scoring.database.list_rules import list_rules as find

    rows = find(command_settings())
    if as_json:
        printing.print_json(rows)
    elif not rows:
        print("no rules: `nightreel rules add` makes one")
    else:
        printing.print_table(rows)


@rules.command(context_settings=ANY_ID)
def add(
    kind: Annotated[str, typer.Argument(help="pin, boost, demote, at_least or at_most.")],
    video: Annotated[
        str | None, typer.Option(metavar="ID", show_default="none", help="For this video.")
    ] = None,
    author: Annotated[
        str | None, typer.Option(metavar="ID", show_default="none", help="For the videos of this author.")
    ] = None,
    category: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            show_default="none",
            help="For the videos of this first-level category, by name or number.",
        ),
    ] = None,
    rank: Annotated[
        int | None, typer.Option(show_default="none", help="For a pin: its rank, from 1.")
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option(show_default="none", help="For at_least and at_most: how many rows of a list."),
    ] = None,
    strength: Annotated[
        float | None,
        typer.Option(
            "--by",
            show_default="none",
            help="For a boost, 2 halves the position; for a demotion it doubles it.",
        ),
    ] = None,
    segment: Annotated[
        str | None,
        typer.Option(
            metavar="COLUMN=VALUE",
            show_default="all users",
            help="For users with this value in the users' table.",
        ),
    ] = None,
    valid_from: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="INSTANT", show_default="now", help="For lists as of this instant or later."
        ),
    ] = None,
    valid_until: Annotated[
        str | None,
        typer.Option(
            "--until", metavar="INSTANT", show_default="for ever", help="For lists as of an earlier instant."
        ),
    ] = None,
    reason: Annotated[
        str | None, typer.Option(show_default="none", help="The reason, for readers of the rules.")
    ] = None,
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Add a rule, which applies from the next run on."""
    from nightreel.core import printing
    from scoring.database.list_rules import add_rule
    from scoring.lists.rules.owner import PIN, OwnerRule

    items = {"video": video, "author": author, "category": category}
    named = {name: item for name, item in items.items() if item is not None}
    if len(named) != 1:
        raise InputError(f"{kind}: applies to one thing.", "Name it with --video, --author or --category.")
    ((item_kind, item),) = named.items()
    if (rows if kind == PIN else rank) is not None:
        raise InputError(f"{kind}: a pin has a --rank, a quota --rows.", "Write the other one.")
    column, equals, value = (segment or "").partition("=")
    if segment is not None and not (column and equals):
        raise InputError(
            f"--segment {segment}: not a column and a value.", "Write it like user_active_degree=full."
        )
    rule = OwnerRule(
        0,
        kind,
        item_kind,
        item,
        rank if kind == PIN else rows,
        strength,
        None if segment is None else (column, value),
        parse_instant(valid_from, "--from", may_come=True),
        parse_instant(valid_until, "--until", may_come=True),
    )
    number = add_rule(command_settings(), rule, reason)
    if as_json:
        printing.print_json({"rule": number})
    else:
        print(f"rule {number}: lists follow it from the next run on")


@rules.command()
def remove(
    rule: Annotated[
        int, typer.Argument(min=1, max=RUN_ID_MAX, help="Its number, as printed by `rules list`.")
    ],
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Remove a rule, from the next run on."""
    from nightreel.core import printing
    from scoring.database.list_rules import remove_rule

    remove_rule(command_settings(), rule)
    if as_json:
        printing.print_json({"rule": rule})
    else:
        print(f"rule {rule}: removed")
