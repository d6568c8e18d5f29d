"""The commands that say which model versions there are, and which of them makes the lists."""

from typing import Annotated

import typer

from nightreel.cli.options import AsJson, Home
from nightreel.cli.root import app
from nightreel.cli.running import command_settings


@app.command()
def models(as_json: AsJson = False, home: Home = None) -> None:
    """List the model versions on disk, newest first, and which one makes the lists."""
    from nightreel.core import printing
    from pipelines.model_versions import list_versions

    rows = list_versions(command_settings().paths)
    if as_json:
        printing.print_json(rows)
    elif not rows:
        print("no model yet: `nightreel train` makes one")
    else:
        printing.print_table(rows)


@app.command()
def promote(
    version: Annotated[str, typer.Argument(help="The version, as listed by `nightreel models`.")],
    as_json: AsJson = False,
    home: Home = None,
) -> None:
    """Use a model version for the lists from the next run on; this is also the way back to an earlier one."""
    from nightreel.core import printing
    from pipelines.model_versions import promote_version

    before = promote_version(command_settings().paths, version)
    if as_json:
        printing.print_json({"champion": version, "before": before})
    elif before == version:
        print(f"{version} makes the lists already")
    else:
        back = "" if before is None else f"; back: nightreel promote {before}"
        print(f"{version} makes the lists from the next run on{back}")
