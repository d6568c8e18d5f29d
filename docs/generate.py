"""Writes the reference pages from the code: `python docs/generate.py`; `--check` only says what is stale.

settings.md comes from the settings class, cli.md from the command line's own commands, features.md from the
catalogue of features, steps.md from the sequence of steps.
"""

import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import annotated_types
import typer
from pydantic import SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from nightreel.cli import app
from nightreel.core.catalogue.catalogue import BUILTIN
from nightreel.core.catalogue.night import night_view
from nightreel.core.settings import SETTINGS_FILE, RetrievalSettings, Settings
from nightreel.core.settings.names import ENVIRONMENT_PREFIX, Setting, every_setting, model_of, sections
from nightreel.core.steps import Step
from nightreel.operations.jobs import NIGHT, RETRAIN
from nightreel.operations.sequence import JUDGEMENT, RUN, SEQUENCE, Turn

FOLDER = Path(__file__).resolve().parent
_NOTE = "<!-- Made by `make docs` from the code: do not edit here. -->"
_OF_LOG = ("data", "log")
_LIMITS = {annotated_types.Ge: "≥", annotated_types.Gt: ">", annotated_types.Le: "≤", annotated_types.Lt: "<"}


def pages() -> dict[str, str]:
    """Each generated page's text by its file name."""
    return {
        "settings.md": settings_page(),
        "cli.md": cli_page(),
        "features.md": features_page(),
        "steps.md": steps_page(),
    }


def features_page() -> str:
    """Every feature of nightreel's own: its view, type, kind, meaning, and how it is computed."""
    lines = [
        "# Features",
        "",
        _NOTE,
        "",
        "What the views of Feast hold. Ranked features are what the service `hybrid_ranker` names, in order.",
        "`nightreel catalogue` lists these and [your own](own-features.md). The last table is what a row of",
        "objective `next_day` holds: sources and features as of a night's beginning, composed in one place.",
        "",
    ]
    night = night_view(RetrievalSettings().sources.split(","))
    for view in (*BUILTIN.views, night):
        about = " and ".join(view.entities) or "the instant asked for"
        kept = "stored" if view.is_stored else "computed on demand"
        kept = "not in Feast: read by objective `next_day`" if view is night else kept
        lines += [f"## `{view.name}`: {about}, {kept}", "", view.description, ""]
        lines += ["| feature | type | kind | ranked | meaning | how it is computed |", "|---" * 6 + "|"]
        for one in view.features:
            ranked = "yes" if one.ranked else ""
            cells = (f"`{one.name}`", one.type, one.kind, ranked, one.description, one.computed)
            lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def steps_page() -> str:
    """Every step in order: which jobs do it, what it reads and writes, which settings decide it."""
    lines = [
        "# Steps",
        "",
        _NOTE,
        "",
        "`nightreel run`, `nightreel evaluate`, the night and the training of `nightreel schedule` do these",
        "steps in this order.",
        "A step whose inputs and settings have not changed is skipped; `--force` does it anyway. A night",
        "that fails in an optional step continues, with a remark. In a night, these run beside the step",
        f"that follows: {_named_beside()}. The last column is the step in the code.",
        "",
        "| step | what it does | run | evaluate | night | training | in the code |",
        "|---" * 7 + "|",
    ]
    for turn in SEQUENCE:
        step = turn.step
        taken = (_taken(turn, job) for job in (RUN, JUDGEMENT, NIGHT, RETRAIN))
        cells = (f"`{step.name}`", step.does, *taken, _in_code(step))
        lines.append("| " + " | ".join(_cell(cell) for cell in cells) + " |")
    lines += [
        "",
        "What each reads and writes, below the home, and which settings decide what it makes. A table's name",
        "stands for all that is in it:",
        "",
    ]
    for turn in SEQUENCE:
        step, home = (
            turn.step,
            Settings.model_validate({"home": Path("/home"), "data.raw_dir": Path("/home/raw")}),
        )
        deciding = ", ".join(f"`{name}`" for name in _as_written(step.deciding_settings))
        lines += [
            f"## `{step.name}`",
            "",
            f"- reads {_named(step.reads(home))}",
            f"- writes {_named(step.writes(home))}",
            f"- settings: {deciding or 'none'}",
            *([f"- settings in some cases: {step.also}"] if step.also else []),
            *(f"- part `{part.name}`: {part.does}" for part in step.parts),
            "",
        ]
    return "\n".join(lines).rstrip() + "\n"


def _as_written(names: tuple[str, ...]) -> list[str]:
    """The names as in nightreel.toml: `data.log`, for example, is in several tables there."""
    known = every_setting(Settings)
    found: list[str] = []
    for name in names:
        inner = [one for one, setting in known.items() if ".".join(setting.path).startswith(f"{name}.")]
        found += [name] if all(one.startswith(f"{name}.") for one in inner) else inner
    return sorted(found)


def _named_beside() -> str:
    return ", ".join(f"`{turn.step.name}`" for turn in SEQUENCE if turn.beside_next)


def _taken(turn: Turn, job: str) -> str:
    """Whether a job takes a step."""
    if job not in turn.jobs:
        return ""
    return "optional" * turn.optional + f", with {turn.asked_in_words}" * bool(turn.asked_in_words) or "yes"


def _in_code(step: Step[Any]) -> str:
    """The step's name in the module where it is defined."""
    module = sys.modules[step.run.__module__]
    name = next(name for name, value in vars(module).items() if value is step)
    return f"`{module.__name__}.{name}`"


def _named(paths: tuple[Path | str, ...]) -> str:
    """Paths below the home; files of one folder that are many are given by the folder."""
    names = [_below_home(path) for path in paths]
    folders = [name.rpartition("/")[0] for name in names]
    many = {folder for folder in folders if folder and folders.count(folder) > 4}
    shown = dict.fromkeys(
        f"`{folder}/`" if folder in many else f"`{name}`" for name, folder in zip(names, folders, strict=True)
    )
    return ", ".join(shown) or "nothing of the home"


def _below_home(path: Path | str) -> str:
    if isinstance(path, str):
        return path.replace("/home/", "")
    for root in (Path("/home"), FOLDER.parent):
        if path.is_relative_to(root):
            return path.relative_to(root).as_posix()
    return path.as_posix()


def settings_page() -> str:
    """Every setting by section: its default, what it may be, and its meaning."""
    lines = [
        "# Settings",
        "",
        _NOTE,
        "",
        f"Write a setting to `{SETTINGS_FILE}` below its section's name (`[lists]`, then `top_k = 50`) or",
        "above all sections with a dot (`lists.top_k = 50`), or set it in the environment, which wins, as",
        f"`{ENVIRONMENT_PREFIX}`, section and name in capitals (`{ENVIRONMENT_PREFIX}LISTS_TOP_K=50`).",
        "`nightreel settings` prints the values in force and where each came from; secrets are masked.",
        "",
        "A setting that is a table has keys, which follow it here (`lists.exclude.seen = false`). It is one",
        f"variable of the environment, in JSON: `{ENVIRONMENT_PREFIX}LISTS_EXCLUDE='{{\"seen\": false}}'`.",
        "",
        "Earlier names are understood for one version, with a warning that says what to write;",
        "[decisions/settings.md](decisions/settings.md) says which settings went, and why.",
        "",
        "## Above all sections",
        "",
    ]
    tables: dict[str, list[Setting]] = {}
    for one in every_setting(Settings).values():
        tables.setdefault(one.section, []).append(one)
    for section, settings in tables.items():
        if section:
            lines += [f"## `[{section}]`", "", _meaning(section), ""]
        lines += ["| setting | default | may be | meaning |", "|---|---|---|---|"]
        for one in settings:
            own = one.name.rpartition(".")[2]
            cells = (f"`{own}`", _default(one), _may_be(one.field), one.field.description or "")
            for row in (cells, *_keys(one)):
                lines.append("| " + " | ".join(_cell(cell) for cell in row) + " |")
        lines.append("")
    return "\n".join(lines)


def _meaning(section: str) -> str:
    kind: Any = Settings
    for name in section.split("."):
        kind = sections(kind)[name]
    return kind.__doc__ or ""


def _default(setting: Setting) -> str:
    field = setting.field
    if setting.name == "home":
        return f"folder of the nearest `{SETTINGS_FILE}`, else the current one"
    if setting.keys and setting.path[:2] != _OF_LOG:
        return "see its keys"
    return _default_of(field)


def _default_of(field: FieldInfo) -> str:
    if field.default is None or field.default is PydanticUndefined or model_of(field.annotation) is not None:
        return "not set"
    if isinstance(field.default, bool):
        return _toml(field.default)
    return f"`{_toml(field.default)}`"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, tuple):
        return "[" + ", ".join(f'"{one}"' for one in value) + "]"
    return f'"{value}"'


def _keys(setting: Setting) -> Iterator[tuple[str, str, str, str]]:
    """A row for each key of a setting that is a table; those of a log's tables are in docs/your-data.md."""
    if setting.path[:2] == _OF_LOG:
        return
    for key, field in setting.keys.items():
        meaning = field.description or ""
        name = f"`{setting.name.rpartition('.')[2]}.{key}`"
        yield name, _default_of(field), _may_be(field), f"{meaning[:1].upper()}{meaning[1:]}."


def _may_be(field: FieldInfo) -> str:
    kind = _without_none(field.annotation)
    limits = [
        f"{sign} {_bound(limit)}"
        for limit in field.metadata
        for known, sign in _LIMITS.items()
        if isinstance(limit, known)
    ]
    return " ".join([_kind(kind), ", ".join(limits)]).strip()


def _bound(limit: Any) -> Any:
    return next(getattr(limit, slot) for slot in ("ge", "gt", "le", "lt") if hasattr(limit, slot))


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, types.UnionType):
        annotation = next(part for part in get_args(annotation) if part is not type(None))
    return get_args(annotation)[0] if get_origin(annotation) is Annotated else annotation


def _kind(kind: Any) -> str:
    if get_origin(kind) is tuple:
        return "list of texts"
    if get_origin(kind) is Literal:
        return ", ".join(f'`"{value}"`' for value in get_args(kind))
    if model_of(kind) is not None or get_origin(kind) is dict:
        return "a table"
    names = {bool: "true or false", int: "whole number", float: "number", str: "text", Path: "path"}
    return "text, kept secret" if kind is SecretStr else names[kind]


def commands(group: Any = None, prefix: str = "nightreel") -> Iterator[tuple[str, Any]]:
    """Every command and group of commands by how it is typed, in the order in which they are defined."""
    group = group or typer.main.get_command(app)
    for name, command in group.commands.items():
        typed = f"{prefix} {name}"
        yield typed, command
        if hasattr(command, "commands"):
            yield from commands(command, typed)


def cli_page() -> str:
    """Every command: what it does, its arguments and options."""
    root = typer.main.get_command(app)
    lines = [
        "# Commands",
        "",
        _NOTE,
        "",
        root.help or "",
        "",
        "Exit codes are in [errors.md](errors.md). Before the command: " + _options_in_line(root) + ".",
        "",
    ]
    for typed, command in commands():
        if hasattr(command, "commands"):
            continue
        lines += [f"## `{_usage(typed, command)}`", "", command.help or "", ""]
        if command.params:
            lines += ["| option | default | meaning |", "|---|---|---|"]
            lines += [
                "| " + " | ".join(_cell(cell) for cell in _option(one)) + " |" for one in command.params
            ]
            lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _usage(typed: str, command: Any) -> str:
    arguments = [one.name.upper() for one in command.params if one.param_type_name == "argument"]
    return " ".join([typed, *arguments])


def _options_in_line(group: Any) -> str:
    return ", ".join(f"`{one.opts[0]}` ({one.help.rstrip('.')})" for one in group.params)


def _option(parameter: Any) -> tuple[str, str, str]:
    name = parameter.name.upper() if parameter.param_type_name == "argument" else parameter.opts[0]
    if isinstance(parameter.show_default, str):
        default = parameter.show_default
    elif parameter.required:
        default = "needed"
    elif parameter.is_flag if hasattr(parameter, "is_flag") else False:
        default = "no"
    else:
        default = "not set" if parameter.default is None else f"`{parameter.default}`"
    return f"`{name}`", default, parameter.help or ""


def _cell(text: str) -> str:
    return " ".join(text.replace("|", "\\|").split())


def main() -> None:
    """Write the pages; with --check write nothing, and exit with 1 where one is stale."""
    stale = [
        name
        for name, text in pages().items()
        if not (FOLDER / name).is_file() or (FOLDER / name).read_text(encoding="utf-8") != text
    ]
    if "--check" in sys.argv:
        for name in stale:
            print(f"docs/{name} is stale: run `make docs`", file=sys.stderr)
        sys.exit(1 if stale else 0)
    for name in stale:
        (FOLDER / name).write_text(pages()[name], encoding="utf-8")
        print(f"wrote docs/{name}")


if __name__ == "__main__":
    main()
