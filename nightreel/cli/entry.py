"""The entry point of the command: every failure is one line with a remedy and an exit code."""

import os
import sys
from contextlib import suppress
from pathlib import Path

from nightreel.cli.root import app
from nightreel.core.errors import NightreelError


def main() -> None:
    """Run the command line; every failure is one line with a remedy and an exit code."""
    from nightreel.core.printing import print_error
    from nightreel.core.terminal import StandardOutputError, drop_output, guard_streams

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
    from nightreel.core.disk import DiskFullError, disk_full, full_path, is_disk_full
    from nightreel.core.printing import print_error
    from nightreel.core.terminal import StandardOutputError, drop_output

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
        print_error("stopped. What was finished stays; the same command continues from there.")
        return 130
    except BrokenPipeError:
        # The reader of our output went away, as `| head` does.
        drop_output()
        return 1
    except Exception as error:
        if os.environ.get("NIGHTREEL_DEBUG_TRACEBACKS"):
            raise
        if is_disk_full(error):
            print_error(str(disk_full(full_path(error, *_written_to()), error)))
            _keep_list_readable()
        else:
            print_error(f"unexpected {type(error).__name__}: {error}. `nightreel --debug ...` shows where.")
        return 1
    return 0


def _written_to() -> list[Path]:
    """The folder that this command may have written to."""
    from nightreel.core.settings import load_settings

    try:
        settings = load_settings()
    except NightreelError:
        return [Path.cwd()]
    return [settings.home, settings.data.raw_dir, Path.cwd()]


def _keep_list_readable() -> None:
    from nightreel.core.settings import load_settings
    from scoring.database.sqlite_journal import keep_readable

    with suppress(NightreelError):
        keep_readable(load_settings())
