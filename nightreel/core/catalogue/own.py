"""The features of a user's own modules, which the setting `[features] modules` names."""

import importlib
import importlib.util
import re
from collections.abc import Iterable, Sequence
from functools import lru_cache
from pathlib import Path
from types import ModuleType

import polars as pl

from nightreel.core import columns
from nightreel.core.catalogue.declared import OWN
from nightreel.core.catalogue.entries import ENTITIES, GROUPS, Feature, View
from nightreel.core.errors import InputError
from nightreel.core.settings import FeatureSettings

_NAME = re.compile(r"[a-z][a-z0-9_]*")
_PREFIX = f"{OWN}_"
_TABLES_OF = {
    "user": ("plays", "users"),
    "video": ("plays", "video_daily", "video_captions"),
    **{f"user+{group.name}": ("plays",) for group in GROUPS},
}
_DAYS_MAX = 3_650


def own_views(settings: FeatureSettings, taken: Sequence[View]) -> tuple[View, ...]:
    """A view for each entity of the user's modules, or for each view that these name.

    Args:
        taken: nightreel's own views, whose names cannot be used.

    Raises:
        InputError: a module cannot be read, or a feature is invalid; the message names both.
    """
    found: dict[str, tuple[str, list[Feature]]] = {}
    names = {name: "nightreel" for view in taken for name in view.names} | dict.fromkeys(_reserved(), "a key")
    for named in settings.own_modules:
        for feature in _features(named):
            _check(feature, named)
            if feature.name in names:
                raise InputError(
                    f"{named}: the feature {feature.name} is there already, from {names[feature.name]}.",
                    "Give it another name.",
                )
            names[feature.name] = named
            view = feature.view or _PREFIX + feature.entity.replace("+", "_")
            _, features = found.setdefault(view, (named, []))
            if features and (features[0].entity, features[0].table) != (feature.entity, feature.table):
                raise InputError(
                    f"{named}: the view {view} of {feature.name} holds features of {features[0].entity} over "
                    f"{features[0].table} already.",
                    'Give it another view: Feature(..., view="...").',
                )
            features.append(feature)
    clash = sorted({view.name for view in taken} & set(found))
    if clash:
        raise InputError(f"{found[clash[0]][0]}: nightreel has a view {clash[0]}.", "Name another view.")
    return tuple(
        View(
            name,
            tuple(features[0].entity.split("+")),
            f"Features of {features[0].entity} of the module {Path(module).name}.",
            tuple(features),
            OWN,
            f"Features of {features[0].entity} over {features[0].table}, from the end of each day on.",
            module,
        )
        for name, (module, features) in found.items()
    )


def module_text(named: str) -> str:
    """The source text of a module, for fingerprints. Raises InputError if it cannot be read."""
    return Path(str(_module(named).__file__)).read_text(encoding="utf-8")


def _reserved() -> Iterable[str]:
    yield from (entity.join_key for entity in ENTITIES.values())
    yield from (columns.EVENT_TIMESTAMP, columns.CREATED_TIMESTAMP, columns.INTERACTION_TIMESTAMP)


def _features(named: str) -> Sequence[Feature]:
    found = getattr(_module(named), "features", None)
    if not isinstance(found, list | tuple) or not all(isinstance(one, Feature) for one in found):
        raise InputError(
            f"{named}: no list `features` of nightreel.core.catalogue.Feature.",
            "Write `features = [Feature(...), ...]`; docs/own-features.md has an example.",
        )
    return found


def _module(named: str) -> ModuleType:
    """The module of a name, or of a path to a file, which is read again once it has changed."""
    try:
        if not named.endswith(".py"):
            return importlib.import_module(named)
        status = Path(named).stat()
        return _module_of_file(named, status.st_mtime_ns, status.st_size)
    except FileNotFoundError as error:
        raise InputError(
            f"[features] modules: {error.filename or named}: no such file.", "Correct the setting."
        ) from None
    except Exception as error:
        # Whatever a user's module raises is reported in one line, with the position in it.
        raise InputError(
            f"[features] modules: {named}{_line_of(error, named)}: {_said(error)}.",
            "Fix the module, or correct the setting.",
        ) from None


@lru_cache(maxsize=16)
def _module_of_file(path: str, modified_ns: int, size_bytes: int) -> ModuleType:
    """The module in a file.

    Args:
        modified_ns, size_bytes: of the file as it is now.
    """
    del modified_ns, size_bytes  # part of the cache's key: they change when the file does
    name = "nightreel_features_" + re.sub(r"\W", "_", path)
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Python's bytecode cache is not used: it does not notice a second change within one second.
    exec(compile(Path(path).read_bytes(), path, "exec"), module.__dict__)
    return module


def _line_of(error: Exception, named: str) -> str:
    if isinstance(error, SyntaxError):
        return f", line {error.lineno}"
    line = None
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == named:
            line = trace.tb_lineno
        trace = trace.tb_next
    return "" if line is None else f", line {line}"


def _said(error: Exception) -> str:
    first_line = (str(error).strip().splitlines() or [""])[0].rstrip(".")
    return f"{type(error).__name__}: {first_line}"


def _check(feature: Feature, named: str) -> None:
    where = f"{named}: feature {feature.name!r}"
    tables = _TABLES_OF.get(feature.entity)
    if not isinstance(feature.name, str) or not _NAME.fullmatch(feature.name):
        raise InputError(
            f"{where}: not a name.", "Use lower-case letters, digits and _, beginning with a letter."
        )
    if tables is None:
        raise InputError(f"{where}: no entity {feature.entity!r}.", f"It is one of {', '.join(_TABLES_OF)}.")
    if feature.table not in tables:
        raise InputError(
            f"{where}: {feature.entity} has no rows in the table {feature.table!r}.",
            f"Use one of {', '.join(tables)}.",
        )
    if not isinstance(feature.value, pl.Expr):
        raise InputError(
            f"{where}: its value is not a Polars expression.", "Write value=pl.len(), for example."
        )
    if not feature.description.strip():
        raise InputError(f"{where}: no description.", "Say what it means in a sentence.")
    for said, allowed, what in (
        (feature.type, ("int32", "int64", "float32", "string"), "type"),
        (feature.kind, ("numeric", "categorical"), "kind"),
        (feature.combine, (None, "sum", "max", "min"), "combine"),
    ):
        if said not in allowed:
            shown = ", ".join(str(one) for one in allowed)
            raise InputError(f"{where}: {what} is {said!r}.", f"It is one of {shown}.")
    if feature.type == "string" and feature.kind != "categorical":
        raise InputError(f"{where}: text is not a number.", 'Set kind="categorical".')
    if feature.days is not None and not (isinstance(feature.days, int) and 1 <= feature.days <= _DAYS_MAX):
        raise InputError(f"{where}: days is {feature.days!r}.", f"It is from 1 to {_DAYS_MAX}, or None.")
    if feature.view and not _NAME.fullmatch(feature.view):
        raise InputError(
            f"{where}: {feature.view!r} is not a name for a view.", "Use lower-case letters, digits and _."
        )
