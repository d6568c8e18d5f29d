"""Runs the tests with several versions of Feast, each in an environment of its own, and writes a table.

`make versions`, or: python tests/feast_versions.py [--extras test-all] [--out FILE] 0.62.0 0.67.0 newest
"""

import argparse
import platform
import re
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[1]
HEAD = """# Versions of Feast

What `make versions` saw last: tests in an environment for each, of Python {python}, with extras `{extras}`.

| Feast | passed | skipped | failed |
|---|---|---|---|
"""


@dataclass(frozen=True)
class Seen:
    """What the tests said of one version."""

    passed: int
    skipped: int
    failed: int


def requirements(extras: str) -> list[str]:
    """What the project needs beside Feast, extras of its own included."""
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    found = [one for one in project["dependencies"] if not one.startswith("feast>")]
    pending, known = extras.split(","), set[str]()
    while pending:
        extra = pending.pop()
        if extra in known:
            continue
        known.add(extra)
        for one in project["optional-dependencies"][extra]:
            own = re.fullmatch(r"feast-asof\[(.*)\]", one)
            if own:
                pending += own[1].split(",")
            else:
                found.append(one)
    return found


def environment(version: str, extras: str) -> Path:
    """The Python of an environment with this version of Feast, made anew where it is not there."""
    folder = PROJECT / f".venv-feast-{version}"
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    pip = [python, "-m", "pip", "install", "--disable-pip-version-check", "--quiet"]
    if uv := shutil.which("uv"):  # takes seconds where pip takes minutes
        pip = [uv, "pip", "install", "--quiet", "--python", python]
    feast = "feast" if version == "newest" else f"feast=={version}"
    subprocess.run([*pip, "--upgrade", feast, *requirements(extras)], check=True)
    # Without its own bounds on Feast: the newest may be above them, and is tried all the same.
    subprocess.run([*pip, "--no-deps", "--editable", PROJECT], check=True)
    return python


def feast_of(python: Path) -> str:
    """The version of Feast in an environment."""
    code = "import importlib.metadata as m; print(m.version('feast'))"
    done = subprocess.run([python, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def tried(python: Path, options: list[str]) -> Seen:
    """The tests' own count."""
    command = [python, "-m", "pytest", "-p", "no:cacheprovider", *options]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, check=False)
    lines = done.stdout.splitlines() or [done.stderr]
    count = {what: int(number) for number, what in re.findall(r"(\d+) (\w+)", lines[-1])}
    if done.returncode not in (0, 1) or not count:
        raise SystemExit(f"{python}: pytest ended with {done.returncode}\n{done.stdout}{done.stderr}")
    for line in lines:
        if line.startswith(("FAILED", "ERROR")):
            print(line, flush=True)
    failed = count.get("failed", 0) + count.get("errors", 0) + count.get("error", 0)
    return Seen(count.get("passed", 0), count.get("skipped", 0), failed)


def main() -> None:
    """Try each version, print it, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("versions", nargs="+", metavar="VERSION", help="of Feast, or `newest`")
    parser.add_argument("--extras", default="test", help="of this project, with commas (default: test)")
    parser.add_argument("--out", type=Path, default=PROJECT / "feast-versions.md", help="the table's file")
    parser.add_argument("--pytest", default="", help="further options of pytest, such as '-k oracle'")
    arguments = parser.parse_args()
    table = HEAD.format(python=platform.python_version(), extras=arguments.extras)
    failed, known = 0, set[str]()
    for asked in arguments.versions:
        python = environment(asked, arguments.extras)
        version = feast_of(python)
        if version in known:  # the newest is one of those that were named
            continue
        known.add(version)
        seen = tried(python, arguments.pytest.split())
        line = f"| {version} | {seen.passed} | {seen.skipped} | {seen.failed} |\n"
        print(line, end="", flush=True)
        table += line
        failed += seen.failed
        # As it grows: of a run that is stopped, what it has seen stays.
        arguments.out.write_text(table, encoding="utf-8")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
