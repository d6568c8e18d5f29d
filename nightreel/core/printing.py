"""How a step's result, the settings and a user's list look on a terminal, and as JSON."""

import shutil
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from nightreel.core.steps import Facts, StepResult
from nightreel.core.terminal import as_json, escaped

# A text column is made no narrower than this, in cells, to fit a terminal.
_TEXT_LEAST = 8


def print_result(result: StepResult[Facts], seconds: float, *, paths: bool = False) -> None:
    """Print a step's main facts and, with `paths`, what it read and wrote; one line if it was skipped."""
    if result.skipped:
        made = "done before for the same inputs and settings (--force redoes it)"
        which = f": {result.facts.made_before}" if result.facts.made_before else ""
        print(f"{result.step}: nothing to do, {made}{which}")
        return
    print(f"{result.step}: done in {seconds:.1f} s")
    for verb, files in (("read ", result.read), ("wrote", result.wrote)) if paths else ():
        for file in files:
            print(f"  {verb} {shown(file)}")
    for name, value in result.summary.items():
        _print_fact(name.replace("_", " "), value, indent="  ")


def print_json_result(result: StepResult[Facts], seconds: float) -> None:
    """The same as one line of JSON; a command of several steps prints one line for each."""
    facts = {
        "step": result.step,
        "skipped": result.skipped,
        "seconds": round(seconds, 3),
        "read": [str(one) for one in result.read],
        "wrote": [str(one) for one in result.wrote],
        "summary": result.summary,
    }
    print(as_json(facts))


def print_json(value: Any) -> None:
    """Print one JSON document on standard output, for machines."""
    print(as_json(value, indent=1))


def print_table(rows: Sequence[Mapping[str, Any]], *, indent: str = "") -> None:
    """Print rows with the same keys as an aligned table; plain text, so that it can be piped."""
    if not rows:
        return
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_text(row.get(name), name) for name in names] for row in rows]
    widths = [max(_width(name), *(_width(line[i]) for line in cells)) for i, name in enumerate(names)]
    numeric = [all(isinstance(row.get(name), int | float | None) for row in rows) for name in names]
    if sys.stdout is not None and sys.stdout.isatty():
        room = shutil.get_terminal_size().columns - len(indent) - 2 * (len(names) - 1)
        widths = _narrowed(widths, [not is_one for is_one in numeric], room)
        cells = [[_cut(cell, width) for cell, width in zip(line, widths, strict=True)] for line in cells]
    for line in [names, *cells]:
        padded = [
            " " * (width - _width(cell)) + cell if right else cell + " " * (width - _width(cell))
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ]
        print((indent + "  ".join(padded)).rstrip())


def print_error(text: str) -> None:
    """Print one line on standard error."""
    print(f"nightreel: {shown(text)}", file=sys.stderr)


def shown(value: Any) -> str:
    """A text as one line that is safe on a terminal."""
    return escaped(" ".join(str(value).split()))


def _print_fact(name: str, value: Any, *, indent: str) -> None:
    if isinstance(value, Mapping):
        print(f"{indent}{name}:")
        for inner, inner_value in value.items():
            _print_fact(str(inner), inner_value, indent=indent + "  ")
    elif isinstance(value, list | tuple) and value and all(isinstance(row, Mapping) for row in value):
        print(f"{indent}{name}:")
        print_table(value, indent=indent + "  ")
    elif name == "remarks" and isinstance(value, list | tuple) and len(value) > 1:
        print(f"{indent}{name}:")
        for remark in value:  # sentences, which commas would run together
            print(f"{indent}  {_text(remark)}")
    elif isinstance(value, list | tuple):
        print(f"{indent}{name}: {', '.join(_text(one, name) for one in value) or 'none'}")
    else:
        print(f"{indent}{name}: {_text(value, name)}")


def _text(value: Any, name: str = "") -> str:
    """A value as it is shown.

    Args:
        name: of the value; ids have no thousands separators, so that they can be copied.
    """
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        is_id = name.replace(" ", "_").removesuffix("s").split("_")[-1] == "id"
        return f"{value:,}" if not is_id and abs(value) >= 10_000 else str(value)
    if isinstance(value, float):
        return f"{value:,.4f}" if abs(value) < 1000 else f"{value:,.1f}"
    return shown(value)


def _narrowed(widths: list[int], may_be: list[bool], room: int) -> list[int]:
    """The widths with those of texts made smaller, the widest first, as far as the room asks for it."""
    narrowed = list(widths)
    while sum(narrowed) > room:
        widest = max((n for n, one in enumerate(may_be) if one), key=narrowed.__getitem__, default=None)
        if widest is None or narrowed[widest] <= _TEXT_LEAST:
            break
        narrowed[widest] -= 1
    return narrowed


def _cut(text: str, width: int) -> str:
    """The text, or its beginning and an ellipsis if it is wider than this many cells."""
    if _width(text) <= width:
        return text
    kept = ""
    for character in text:
        if _width(kept + character) > width - 1:
            break
        kept += character
    return f"{kept}…"


def _width(text: str) -> int:
    """Terminal cells that the text takes: Chinese characters take two, what joins another character none."""
    import unicodedata

    cells = 0
    for character in text:
        if unicodedata.category(character) in ("Mn", "Me", "Cf"):
            continue
        cells += 2 if unicodedata.east_asian_width(character) in "WF" else 1
    return cells
