"""A bit that flips in a file that lists are made from, its size and time kept, is seen before they are."""

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from nightreel.cli import main
from nightreel.core import columns
from nightreel.core.catalogue.catalogue import BUILTIN
from nightreel.core.checksums import SUFFIX, checksum_file
from nightreel.core.play_days import files_by_day
from nightreel.core.settings import Settings, load_settings
from nightreel.operations import doctor
from nightreel.operations.night import night_stages
from pipelines import model_registry
from pipelines.features import build_features
from pipelines.ingest import ingest
from scoring.database.publish import score_and_publish
from tests.fixtures.published_home import shown_lists, shown_rows
from tests.fixtures.synthetic_home import make_synthetic_home, publish_night
from tests.fixtures.tables import read_table

SETTINGS = """ranker.lightgbm.num_iterations = 10
features.als.factors = 4
threads = 1
lists.top_k = 5
ranker.filter_k = 20
retrieval.source_k = 8
ranker.objective = "next_day"
retrieval.sources = "als,recent_2d"
"""
AS_OF = "2020-07-10T00:00:00Z"
DAMAGE = "not as it was written"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    """A published night of a home that has had a delivery."""
    folder = tmp_path_factory.mktemp("damage")
    with pytest.MonkeyPatch.context() as patch:
        settings = make_synthetic_home(folder, patch, SETTINGS, users=40, videos=80, plays=4_000, days=12)
        ingest(settings)
        (settings.data.raw_dir / "incoming").mkdir()
        users = pl.read_csv(settings.data.raw_dir / columns.USER_FEATURES_FILE, infer_schema=False)
        users.with_columns(pl.all().exclude("user_id").reverse()).write_csv(
            settings.data.raw_dir / "incoming" / columns.USER_FEATURES_FILE
        )
        for stage in [*night_stages(settings)][:2]:
            stage.work()
        publish_night(settings)
        yield settings


def _files(settings: Settings) -> dict[str, Path]:
    """A file of every kind that a publish reads, and what makes it again."""
    paths = settings.paths
    model = model_registry.champion(settings.paths).folder
    tables = [paths.table(name) for name in ("users", "video_captions")]
    features = [paths.feature_source(view.name) for view in BUILTIN.needed]
    return {
        **{f"table {path.stem}": path for path in tables},
        "plays": _a_day(paths.interactions),
        "daily records": _a_day(paths.video_daily),
        "replaced rows": paths.tables / "superseded" / "users.parquet",
        **{f"features {path.stem}": path for path in features},
        "registry": paths.registry,
        "champion": paths.models / "champion.json",
        **{f"model {path.name}": path for path in sorted(model.iterdir())},
    }


def _a_day(table: Path) -> Path:
    """The file of some day, not the last, to which nothing is added any more."""
    return list(files_by_day(table).values())[1]


@contextmanager
def _flipped(path: Path, at: float) -> Iterator[None]:
    """One bit of the file, so far into it, is another; size and time are as they were."""
    whole, stamp = path.read_bytes(), path.stat()
    damaged = bytearray(whole)
    damaged[min(int(at * len(whole)), len(whole) - 1)] ^= 0x04
    try:
        path.write_bytes(damaged)
        os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
        yield
    finally:
        path.write_bytes(whole)
        os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


def _nightreel(*arguments: str) -> int:
    with pytest.MonkeyPatch.context() as patch, pytest.raises(SystemExit) as ended:
        patch.setattr(sys, "argv", ["nightreel", *arguments])
        main()
    return int(ended.value.code or 0)


def test_no_list_is_made_from_a_damaged_file(home: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    before = shown_rows(home)
    for kind, path in _files(home).items():
        for at, force in ((0.0, []), (1.0, ["--force"])):
            with _flipped(path, at):
                code = _nightreel("score", *force)
            said = capsys.readouterr().err.strip()
            assert code == 2, (kind, at, force, said)
            assert len(said.splitlines()) == 1, said
            assert path.parent.name in said and "un `" in said, said
            assert shown_rows(home) == before
    assert _nightreel("score") == 0


def test_a_file_that_has_lost_its_checksum_counts_as_damaged(
    home: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    """Damaged or not: that cannot be seen any more. Files of an older nightreel never had one."""
    before = shown_rows(home)
    for kind, path in _files(home).items():
        checksum = checksum_file(path)
        if not checksum.exists():  # a model's files have theirs in its manifest
            assert kind.startswith("model")
            continue
        said = checksum.read_bytes()
        checksum.unlink()
        try:
            with _flipped(path, 0.5):
                assert _nightreel("score", "--force") == 2, kind
            message = capsys.readouterr().err.strip()
            assert len(message.splitlines()) == 1 and f"{path.name}: not as it was written" in message, (
                message
            )
            assert "is missing" in message and "un `" in message, message
            assert _nightreel("score") == 2, kind
            capsys.readouterr()
            (finding,) = [one for one in doctor.inspect_all() if one.inspection == "checksums"]
            assert finding.state == "wrong" and path.name in finding.found and "older" not in finding.found
            assert shown_rows(home) == before
        finally:
            checksum.write_bytes(said)
    source = home.paths.feature_source(columns.VIDEO_FACTORS)
    checksum_file(source).unlink()
    assert not build_features(home).skipped
    assert score_and_publish(home).summary["run_id"]


@contextmanager
def _lost(path: Path, *, with_checksum: bool) -> Iterator[None]:
    """The file is missing, its checksum too where asked for; that it had one is still on record."""
    gone = [path, *([checksum_file(path)] if with_checksum else [])]
    held = [(one, one.read_bytes(), one.stat().st_mtime_ns) for one in gone]
    try:
        for one in gone:
            one.unlink()
        yield
    finally:
        for one, whole, changed_ns in held:
            one.write_bytes(whole)
            os.utime(one, ns=(changed_ns, changed_ns))


@pytest.mark.parametrize("with_checksum", [False, True])
def test_a_lost_file_is_refused_and_named(
    home: Settings, capsys: pytest.CaptureFixture[str], *, with_checksum: bool
) -> None:
    """Replaced rows above all: without them, a table is still one, but not what was known at a night."""
    before = shown_rows(home)
    replaced = home.paths.tables / "superseded" / "users.parquet"
    for path in (replaced, home.paths.table("users"), home.paths.feature_source(columns.USER_FACTORS)):
        remedy = f"nightreel {'features' if path.parent == home.paths.features else 'ingest'} --force"
        with _lost(path, with_checksum=with_checksum):
            steps = [("score",), ("score", "--force"), ("train", "--force"), ("evaluate", "--force")]
            if path == replaced:
                steps += [("features",), ("score", "--as-of", AS_OF, "--known-at", "2000-01-01T00:00:00Z")]
            for step in steps:
                assert _nightreel(*step) == 2, (step, path)
                said = capsys.readouterr().err.strip()
                assert len(said.splitlines()) == 1 and path.name in said, (step, said)
                # Where nothing can be made without the file, that may be said before it is looked for.
                assert (remedy if path == replaced else remedy.removesuffix(" --force")) in said, (step, said)
            (finding,) = [one for one in doctor.inspect_all() if one.inspection == "checksums"]
            assert finding.state == "wrong" and str(path) in finding.found and remedy in finding.remedy
            assert shown_rows(home) == before
    rows = pl.read_parquet(replaced)
    replaced.unlink()
    assert _nightreel("ingest", "--force") == 0
    assert pl.read_parquet(replaced).equals(rows)


@pytest.mark.parametrize(
    ("folder", "remedy"),
    [("tables", "nightreel ingest --force"), ("features", "nightreel features --force")],
)
def test_the_file_and_what_makes_it_again_are_named(
    home: Settings, capsys: pytest.CaptureFixture[str], folder: str, remedy: str
) -> None:
    files = [path for path in _files(home).values() if path.parent.name == folder]
    with _flipped(files[0], 0.5), _flipped(files[1], 0.5):
        assert _nightreel("score") == 2
        said = capsys.readouterr().err
        assert str(files[0]) in said and files[1].name in said and remedy in said and DAMAGE in said
        (finding,) = [one for one in doctor.inspect_all() if one.inspection == "checksums"]
        assert finding.state == "wrong"
        assert remedy in finding.remedy and all(path.name in finding.found for path in files[:2])


def test_steps_make_their_own_damaged_files_again(home: Settings) -> None:
    """A damaged table is read anew from the raw files, and what is made of damaged files is made anew."""
    before = {path: path.read_bytes() for path in (*home.paths.features.glob("*.parquet"),)}
    plays = read_table(home, "interactions")
    with _flipped(_a_day(home.paths.interactions), 0.5):
        assert not ingest(home).skipped
        assert read_table(home, "interactions").equals(plays)
    ingest(home, force=True)
    build_features(home)
    for path in before:
        stamp = path.stat()
        path.write_bytes(path.read_bytes()[:-9] + b"damaged!!")
        os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert _nightreel("score") == 2
    assert not build_features(home).skipped
    assert {path: path.read_bytes() for path in before} == before
    assert score_and_publish(home).summary["run_id"]


def test_a_step_does_not_build_on_damaged_files(home: Settings, capsys: pytest.CaptureFixture[str]) -> None:
    """What they would write of it would have a good checksum."""
    table, source = _a_day(home.paths.interactions), home.paths.feature_source(columns.VIDEO_FACTORS)
    for path, steps in ((table, ("features", "train", "evaluate")), (source, ("train", "evaluate"))):
        for step in steps:
            with _flipped(path, 0.5):
                assert _nightreel(step, "--force") == 2, (step, path)
            assert DAMAGE in capsys.readouterr().err


def test_what_a_source_of_candidates_has_learnt_is_learnt_again(
    home: Settings, capsys: pytest.CaptureFixture[str]
) -> None:
    before = shown_lists(home)
    newest = max(path for path in home.paths.retrieval.iterdir() if path.is_dir())
    files = sorted(newest.glob("*.npz"))
    assert files
    for number, path in enumerate(files):
        with _flipped(path, (0.01, 0.5, 0.99)[number % 3]):
            assert _nightreel("score", "--force") == 0
        assert "made again" in capsys.readouterr().err
        assert shown_lists(home) == before
        with np.load(path):
            pass


def test_a_copied_home_is_checked_by_its_content(
    home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Times of a copy are others; and the copy is checked, not the home that it was made of."""
    copy = tmp_path / "copy"
    shutil.copytree(home.home, copy, copy_function=shutil.copyfile)
    monkeypatch.setenv("NIGHTREEL_HOME", str(copy))
    settings = load_settings()
    assert _nightreel("score", "--force") == 0
    with _flipped(settings.paths.feature_source(columns.USER_FACTORS), 0.5):
        assert _nightreel("score") == 2


def test_checksums_that_an_older_nightreel_wrote_beside_each_days_plays_are_compared(
    home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(home.home, copy)
    table = copy / "data" / "tables" / "interactions"
    shutil.copytree(table.with_name(f".{table.name}{SUFFIX}"), table, dirs_exist_ok=True)
    shutil.rmtree(table.with_name(f".{table.name}{SUFFIX}"))
    monkeypatch.setenv("NIGHTREEL_HOME", str(copy))
    day = _a_day(load_settings().paths.interactions)
    assert day.with_name(day.name + SUFFIX).is_file()
    assert _nightreel("score", "--force") == 0
    with _flipped(day, 0.5):
        assert _nightreel("score") == 2
    with _lost(day, with_checksum=True):
        assert _nightreel("score") == 2
    assert capsys.readouterr().err.count("not as it was written") == 2
    assert _nightreel("ingest", "--force") == 0
    assert not list(table.rglob(f"*{SUFFIX}"))


def test_files_of_an_older_nightreel_are_used_as_they_are(
    home: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(home.home, copy)
    for path in copy.rglob(f"*{SUFFIX}"):
        if path.is_file():
            path.unlink()
    monkeypatch.setenv("NIGHTREEL_HOME", str(copy))
    assert _nightreel("score", "--force") == 0
    (finding,) = [one for one in doctor.inspect_all() if one.inspection == "checksums"]
    assert finding.state == "warning" and "nightreel ingest --force" in finding.remedy
    assert _nightreel("ingest", "--force") == 0
    assert _nightreel("features", "--force") == 0
    with _flipped(load_settings().paths.feature_source(columns.USER_FACTORS), 0.5):
        assert _nightreel("score") == 2
