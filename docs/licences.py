"""Writes licences.md: every package of the lock files with its version and licence, from its metadata.

`python docs/licences.py`, in an environment made from requirements-dev.lock; what only development needs is
not listed. Packages for other systems are, without a licence: their metadata is not installed here.
"""

import re
from importlib import metadata
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
LOCKS = [
    FOLDER.parent / name
    for name in ("requirements.lock", "requirements-ray.lock", "requirements-sequence.lock")
]
_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^]]*\])?==([^\s;\\]+)(\s*;)?", flags=re.MULTILINE)
_CLASSIFIER = "License :: OSI Approved :: "


def locked() -> dict[str, tuple[str, bool]]:
    """Version of each package of the lock files, and whether only some systems get it."""
    pins = (pin for lock in LOCKS for pin in _PIN.finditer(lock.read_text(encoding="utf-8")))
    return {pin[1]: (pin[2], bool(pin[3])) for pin in pins}


def licence(name: str) -> str | None:
    """What the installed package says; None where it is not installed."""
    try:
        said = metadata.metadata(name)
    except metadata.PackageNotFoundError:
        return None
    classified = [
        text.removeprefix(_CLASSIFIER)
        for text in said.get_all("Classifier") or []
        if text.startswith(_CLASSIFIER)
    ]
    short = str(said.get("License") or "").strip().split("\n")[0]
    found = said.get("License-Expression") or ", ".join(classified) or (short if len(short) < 60 else "")
    return str(found) or "not said"


def page() -> str:
    """The whole page."""
    lines = [
        "# Licences",
        "",
        "<!-- Made by `python docs/licences.py` from the lock files and the packages' metadata. -->",
        "",
        "nightreel is under Apache-2.0. These packages do not come with it: pip installs them, by hash;",
        "Ray and what it needs only with the extra `nightreel[ray]`, faiss only with `nightreel[search]`,",
        "JAX, Optax and what they need only with `nightreel[sequence]`.",
        "",
        "| package | version | licence |",
        "|---|---|---|",
    ]
    for name, (version, conditional) in sorted(locked().items()):
        said = licence(name) or ("(other systems only)" if conditional else "not installed")
        lines.append(f"| {name} | {version} | {said.replace('|', '/')} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    (FOLDER / "licences.md").write_text(page(), encoding="utf-8")
