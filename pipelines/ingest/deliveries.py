"""Deliveries: files that came after the first load, each archived unchanged with the instant of its arrival.

The archive is beside the raw files, so that tables are made from these and their deliveries alone. The
instant is part of a file's name: one rename both archives it and says when it arrived.
"""

import hashlib
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from nightreel.core.clock import SKEW, is_future
from nightreel.core.instants import MICROSECOND
from nightreel.core.settings import DataSettings
from pipelines.ingest.formats import files_of
from pipelines.ingest.mapping import files_given, raw_paths
from pipelines.ingest.raw_columns import RawFile
from pipelines.ingest.raw_files import BIG_MATRIX, CAPTIONS, EXPOSURES, INCOMING, ITEM_DAILY, USER_FEATURES

ARCHIVE, QUARANTINE = "taken", "set_aside"
KINDS = (BIG_MATRIX, ITEM_DAILY, USER_FEATURES, CAPTIONS, EXPOSURES)
# Names that the table [data] has for raw files.
_SHORT = {"plays": BIG_MATRIX, "users": USER_FEATURES, "items": CAPTIONS}
_INSTANT = "%Y%m%dT%H%M%S.%fZ"
_ARCHIVED = re.compile(r"(\d{8}T\d{6}\.\d{6}Z)-(.+)", re.DOTALL)
# File systems allow 255; the rest is for what is added to names, such as those of rejects.
_NAME_BYTES_MAX = 200
_DIGEST_CHARACTERS = 8


@dataclass(frozen=True)
class Delivery:
    """An archived delivery.

    Attributes:
        arrived: when it was archived, UTC; no two deliveries have the same instant.
    """

    path: Path
    file: RawFile
    arrived: datetime


def kind_of(name: str) -> RawFile | None:
    """The raw file that a delivery of this name adds to; None if it begins with no raw file's name."""
    for kind in KINDS:
        if name.casefold().startswith(Path(kind.name).stem):
            return kind
    return None


def own_name(name: str, settings: DataSettings) -> str:
    """A delivery's name with plays, users or items at its beginning replaced by the raw file's name.

    Any other name as it is.
    """
    for stem, kind in _SHORT.items():
        if name.casefold().startswith(stem) and kind_of(name) is None:
            return f"{Path(kind.name).stem}-{name}" if files_given(kind, settings) is not None else name
    return name


def delivered_name(name: str) -> str:
    """The name that an archived file was delivered under; any other name as it is."""
    match = _ARCHIVED.fullmatch(name)
    return name if match is None else match[2]


def deliveries(raw_dir: Path) -> list[Delivery]:
    """Every archived delivery in order of arrival."""
    found = (_delivery(path) for path in _archived(raw_dir))
    return [one for one in found if isinstance(one, Delivery)]


def no_deliveries(raw_dir: Path) -> list[tuple[Path, str]]:
    """Files in the archive that are not deliveries, each with the reason; hidden files are left out."""
    found = ((path, _delivery(path)) for path in _archived(raw_dir) if not path.name.startswith("."))
    return [(path, reason) for path, reason in found if isinstance(reason, str)]


def _archived(raw_dir: Path) -> list[Path]:
    return sorted((raw_dir / INCOMING / ARCHIVE).glob("*"))


def _delivery(path: Path) -> Delivery | str:
    """An entry of the archive as a delivery, or the reason why it is not one."""
    match = _ARCHIVED.fullmatch(path.name)
    if match is None:
        return f"nightreel did not archive it; deliver it in {INCOMING}/"
    kind = kind_of(match[2])
    if kind is None:
        return "its name, after the instant of arrival, does not begin with that of a raw file"
    try:
        arrived = datetime.strptime(match[1], _INSTANT).replace(tzinfo=UTC)
    except ValueError:
        return f"its name begins with {match[1]}, which is not an instant"
    if not path.is_file():
        return "a link to nothing" if path.is_symlink() and not path.exists() else "not a file"
    return Delivery(path, kind, arrived)


def next_arrival(raw_dir: Path, now: datetime) -> datetime:
    """The instant for a delivery that arrives now, which is later than that of every earlier delivery."""
    arrived = [delivery.arrived for delivery in deliveries(raw_dir) if not is_future(delivery.arrived, now)]
    return max([now, *(instant + MICROSECOND for instant in arrived)])


def delivered_after(raw_dir: Path, now: datetime) -> list[Delivery]:
    """Deliveries that a wrong clock has stamped later than now, in order of arrival."""
    return [delivery for delivery in deliveries(raw_dir) if is_future(delivery.arrived, now)]


def stamp_anew(settings: DataSettings, now: datetime) -> list[tuple[Delivery, datetime]]:
    """Restamp deliveries from the future with the present instant; returns each as it was, and its new stamp.

    When they arrived is not known, but it was before now. With their old stamp, what they brought would count
    as unknown until then, and replace what arrives in the meantime. Nothing is done if the raw files too are
    later than now: then it is the present clock that is wrong.
    """
    raw_dir = settings.raw_dir
    later = delivered_after(raw_dir, now)
    if not later or _is_before_raw_files(now, settings):
        return []
    stamped = []
    for delivery in later:
        arrived = next_arrival(raw_dir, now)
        match = _ARCHIVED.fullmatch(delivery.path.name)
        assert match is not None
        delivery.path.rename(delivery.path.with_name(archived_name(match[2], arrived)))
        stamped.append((delivery, arrived))
    return stamped


def _is_before_raw_files(now: datetime, settings: DataSettings) -> bool:
    paths = raw_paths(settings)
    files = [file for kind in KINDS for file in files_of(paths[kind]) if file.is_file()]
    return any(file.stat().st_mtime > (now + SKEW).timestamp() for file in files)


def archived_name(name: str, arrived: datetime) -> str:
    """The name under which a delivery of this name is archived: of printable characters alone."""
    plain = "".join(character if character.isprintable() else "_" for character in name)
    return fitting_name(f"{arrived.astimezone(UTC).strftime(_INSTANT)}-{plain}", Path(plain).suffix)


def fitting_name(name: str, suffix: str) -> str:
    """The name; where it is too long for a file system, shortened, with a digest of it and this end."""
    if len(_encoded(name)) <= _NAME_BYTES_MAX:
        return name
    digest = hashlib.sha256(_encoded(name)).hexdigest()[:_DIGEST_CHARACTERS]
    end = f".{digest}{suffix}"
    kept = _encoded(name)[: _NAME_BYTES_MAX - len(_encoded(end))]
    return kept.decode("utf-8", errors="ignore") + end


def _encoded(name: str) -> bytes:
    return name.encode("utf-8", errors="surrogateescape")
