"""Reads the effective settings: finds nightreel.toml, adds the environment, and makes paths absolute."""

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from nightreel.core.errors import InputError
from nightreel.core.settings.names import (
    ENVIRONMENT_PREFIX,
    every_setting,
    expanded,
    merged,
    model_of,
    nearest,
    sections,
    toml_name,
)
from nightreel.core.settings.needs import MirrorNeeds
from nightreel.core.settings.old_names import warn_once, with_new_names
from nightreel.core.settings.paths import Paths
from nightreel.core.settings.settings import Settings
from nightreel.core.settings.sources import (
    environment,
    from_environment,
    reading_from,
    refuse_unknown_variables,
    variables,
)
from nightreel.core.settings.urls import url_of, working_folder

SETTINGS_FILE = "nightreel.toml"
_HOME = f"{ENVIRONMENT_PREFIX}HOME"


def find_settings_file(start: Path) -> Path | None:
    """The nearest `nightreel.toml` in `start` or a folder above it; None if there is none."""
    for folder in (start, *start.parents):
        candidate = folder / SETTINGS_FILE
        if candidate.is_file():
            return candidate
    return None


def settings_file(paths: Paths) -> Path:
    """The nightreel.toml that these settings were read from, or their home's, which may not exist."""
    file, _ = file_values()
    return file or paths.home / SETTINGS_FILE


def settings_of_home(folder: str | Path, *, environment: bool = True) -> Settings:
    """The effective settings of a given home, as if NIGHTREEL_HOME named it.

    Args:
        environment: whether other NIGHTREEL_* variables count.
    """
    home = url_of(Path(folder)) or str(Path(folder).expanduser().resolve())
    others = {} if not environment else {name: os.environ[name] for name in variables()}
    own = {name: value for name, value in others.items() if name.upper() != _HOME}
    with reading_from({**own, _HOME: home}):
        return load_settings()


def load_settings(overrides: Mapping[str, Any] | None = None) -> Settings:
    """The effective settings for the current folder and environment.

    With NIGHTREEL_HOME set, only that folder's own nightreel.toml is read, so that two homes share nothing.

    Args:
        overrides: by name, like {"lists.top_k": 5}; they win over the file, not over the environment.

    Raises:
        InputError: a setting is unknown or invalid.
    """
    refuse_unknown_variables(Settings)
    file, values = file_values()
    values = merged(values, expanded(overrides or {}))
    values.setdefault("home", file.parent if file is not None else Path.cwd())
    try:
        loaded = Settings(**values)
    except ValidationError as error:
        raise InputError(_explain(error, file)) from None
    warn_once()
    return _with_whole_paths(loaded, file, is_raw_in_file="raw_dir" in values.get("data", {}))


def _with_whole_paths(loaded: Settings, file: Path | None, *, is_raw_in_file: bool) -> Settings:
    by_environment = from_environment(Settings)
    base = Path.cwd() if "home" in by_environment or file is None else file.parent
    updates: dict[str, Any] = {}
    home_url = url_of(loaded.home)
    if home_url is not None:
        updates["home_url"] = home_url
        home = working_folder(home_url, environment())
    else:
        home = (base / loaded.home.expanduser()).resolve()
    if "data.raw_dir" in by_environment:
        raw_base = Path.cwd()
    else:
        raw_base = file.parent if file is not None and is_raw_in_file else home
    raw_url = url_of(loaded.data.raw_dir)
    if raw_url is not None:
        updates |= {"data.raw_url": raw_url, "data.raw_dir": home / "raw"}
    else:
        updates["data.raw_dir"] = (raw_base / loaded.data.raw_dir.expanduser()).resolve()
    if loaded.data.log is not None:
        in_raw_dir = updates["data.raw_dir"] if raw_url is not None else None
        updates["data.log"] = loaded.data.log.below(in_raw_dir or (file.parent if file is not None else base))
    updates["features.modules"] = tuple(_module_name(one, home) for one in loaded.features.modules)
    return loaded.changed({"home": home, **updates})


def _module_name(named: str, home: Path) -> str:
    """The name of a module as it is; of a file its whole path, so that other homes of a step find it too."""
    return str((home / Path(named).expanduser()).resolve()) if named.endswith(".py") else named


def require_home(settings: MirrorNeeds, *, may_be_new: bool = False) -> None:
    """Raise InputError if the home does not exist, so that a misspelt name does not create one.

    Args:
        may_be_new: for a command that creates what it needs there.
    """
    home = settings.home
    if settings.home_url is not None or home.is_dir():
        return
    if may_be_new and not home.exists():
        return
    raise InputError(
        f"{home}: a file, not a folder." if home.exists() else f"{home}: no such folder.",
        "Name the home with --home or NIGHTREEL_HOME, or create the folder.",
    )


def file_values() -> tuple[Path | None, dict[str, Any]]:
    """The nightreel.toml in force and its values by section; None and no values without a file."""
    read = environment()
    home = read.get(_HOME)
    if home:
        url = url_of(Path(home))
        folder = Path(home).expanduser().resolve() if url is None else working_folder(url, read)
        candidate = folder / SETTINGS_FILE
        file = candidate if candidate.is_file() else None
    else:
        file = find_settings_file(Path.cwd())
    if file is None:
        return None, {}
    try:
        return file, with_new_names(tomllib.loads(file.read_text(encoding="utf-8")), file)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{file}: not valid TOML: {error}.", "Fix the file, or remove it.") from None


def _explain(error: ValidationError, file: Path | None) -> str:
    by_environment, lines = from_environment(Settings), []
    for problem in error.errors(include_url=False, include_input=False):
        parts = [str(part) for part in problem["loc"]]
        # The settings of a log are in [data], beside the others.
        parts = [part for at, part in enumerate(parts) if (at, part) != (1, "log")]
        name = ".".join(parts)
        # LightGBM's tables are checked as one, and begin with the parameter's name.
        if (
            f"{name}.{(own := problem['msg'].removeprefix('Value error, ').partition(':')[0])}"
            in by_environment
        ):
            name = f"{name}.{own}"
        shown = f"[{name}]" if name in _tables() else toml_name(name)
        table = name.rpartition(".")[0]
        where = (
            f"environment variable {by_environment[name][0]}"
            if name in by_environment
            else f"environment variable {by_environment[table][0]}, key `{parts[-1]}`"
            if table in by_environment
            else f"{file}, setting `{shown}`"
            if file is not None
            else f"setting `{shown}`"
        )
        text = problem["msg"]
        if problem["type"] == "extra_forbidden":
            meant = nearest(name, Settings)
            text = "no such setting" + (f"; did you mean `{toml_name(meant)}`?" if meant else "")
        text = text.removeprefix("Value error, ")
        lines.append(f"{where}: {text.rstrip('.?')}{text[-1] if text[-1] in '.?' else '.'}" if name else text)
    return " ".join(lines) + " `nightreel settings` lists them all."


def _tables() -> set[str]:
    return {
        *sections(Settings),
        *(f"{name}.{inner}" for name, kind in sections(Settings).items() for inner in sections(kind)),
        *(one for one, setting in every_setting(Settings).items() if model_of(setting.field.annotation)),
    }
