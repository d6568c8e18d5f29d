"""`feast apply` by the real command: from a clean state, twice, from two folders, on two homes."""

import os
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest
from feast.protos.feast.core.Registry_pb2 import Registry
from google.protobuf.json_format import MessageToDict

from feature_repo.home import REPOSITORY
from feature_repo.open_store import apply_definitions, store
from nightreel.core import columns
from nightreel.core.errors import InputError
from nightreel.core.settings import load_settings
from pipelines.features import build_features
from tests.fixtures.fork_server import forks
from tests.fixtures.small_log import make_log, settings_for

GROUPS = ("author", "first_level_category", "second_level_category", "third_level_category", "tag", "length")
VIEWS = {
    "user_profile",
    "user_activity",
    "video_profile",
    "video_text",
    "video_daily_popularity",
    "video_engagement",
    "user_factors",
    "video_factors",
    "video_recent",
    "video_shows",
    "user_categories",
    *(f"user_{group}" for group in GROUPS),
}


@dataclass(frozen=True)
class Applied:
    """Two homes, and the content of their registries after an apply of each, and one more of the first."""

    first: Path
    second: Path
    first_once: bytes
    first_twice: bytes
    second_before: bytes
    second_after: bytes
    repository_before: set[Path]


@pytest.fixture(scope="module")
def applied(tmp_path_factory: pytest.TempPathFactory) -> Applied:
    """Two homes at once: one by `cd feature_repo && feast apply`, one by `feast -c`; then the first again."""
    folder = tmp_path_factory.mktemp("apply")
    first, second = folder / "first", folder / "second"
    for home in (first, second):
        home.mkdir()
        (home / "nightreel.toml").touch()
    settings = settings_for(first)
    make_log(1).write(settings)
    build_features(settings)
    before = set(REPOSITORY.iterdir())
    with ThreadPoolExecutor() as pool:
        here = pool.submit(_feast, "apply", cwd=REPOSITORY, home=first)
        # No setting says where: the home is the folder of the nearest nightreel.toml.
        there = pool.submit(_feast, "-c", os.path.relpath(REPOSITORY, second), "apply", cwd=second)
        here.result()
        there.result()
    registries = [home / "data" / "registry.db" for home in (first, second)]
    once = [registry.read_bytes() for registry in registries]
    _feast("apply", cwd=REPOSITORY, home=first)
    twice = [registry.read_bytes() for registry in registries]
    return Applied(first, second, once[0], twice[0], once[1], twice[1], before)


@pytest.mark.parametrize("where", ["in the repository", "from elsewhere"])
def test_a_bad_setting_is_one_line_of_feasts_own_command_too(where: str, tmp_path: Path) -> None:
    (tmp_path / "nightreel.toml").write_text("lists.top_k = 0\n", encoding="utf-8")
    inside = where == "in the repository"
    done = forks.run(
        ["feast", *([] if inside else ["-c", str(REPOSITORY)]), "apply"],
        cwd=REPOSITORY if inside else tmp_path,
        env=os.environ | {"NIGHTREEL_HOME": str(tmp_path)},
    )
    assert done.returncode == 2
    assert done.stderr.startswith("nightreel: ") and "top_k" in done.stderr
    assert len(done.stderr.splitlines()) == 1, done.stderr


def _feast(*arguments: str, cwd: Path, home: Path | None = None) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("NIGHTREEL_")}
    if home is not None:
        environment["NIGHTREEL_HOME"] = str(home)
    done = forks.run(["feast", *arguments], cwd=cwd, env=environment)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr, done.stderr
    return done.stdout


def _registry(stored: bytes) -> Registry:
    registry = Registry()
    registry.ParseFromString(stored)
    return registry


def _lasting(stored: bytes) -> dict[str, list[str]]:
    """All that a registry says but for when it was said, in order of text, as Feast keeps sets.

    dataSourceClassType says once more that a file source is one; Feast writes it in some rounds only.
    """
    volatile = {"createdTimestamp", "lastUpdatedTimestamp", "lastUpdated", "versionId", "dataSourceClassType"}

    def without_times(value: object) -> object:
        if isinstance(value, dict):
            # In order of names: a map of the registry comes in any.
            return {name: without_times(value[name]) for name in sorted(value) if name not in volatile}
        return [without_times(part) for part in value] if isinstance(value, list) else value

    said = without_times(MessageToDict(_registry(stored)))
    assert isinstance(said, dict)
    return {
        name: sorted(map(repr, part)) if isinstance(part, list) else [repr(part)]
        for name, part in said.items()
    }


def test_from_a_clean_state_everything_is_registered(applied: Applied) -> None:
    registry = _registry(applied.first_once)
    assert {view.spec.name for view in registry.feature_views} == VIEWS
    tastes = (f"user_{group}_taste" for group in GROUPS)
    on_demand = {"als_score", "category_lift", "interaction_time", "video_trend", *tastes}
    assert {view.spec.name for view in registry.on_demand_feature_views} == on_demand
    assert {service.spec.name for service in registry.feature_services} == {"hybrid_ranker"}
    assert {entity.spec.name for entity in registry.entities} == {"user", "video", "__dummy", *GROUPS}
    assert {project.spec.name for project in registry.projects} == {"nightreel"}
    assert len(registry.data_sources) == len(VIEWS) + 1


def test_a_second_apply_changes_nothing(applied: Applied) -> None:
    assert _lasting(applied.first_twice) == _lasting(applied.first_once)


def test_two_homes_do_not_touch(applied: Applied) -> None:
    """An apply on one leaves the other as it was; no path of either leads to the other."""
    assert applied.second_after == applied.second_before
    for own, other, stored in (
        (applied.first, applied.second, applied.first_twice),
        (applied.second, applied.first, applied.second_after),
    ):
        assert str(own).encode() in stored and str(other).encode() not in stored
        assert {path.name for path in (own / "data").iterdir()} >= {"registry.db", "online_store.db"}
    assert {path.name for path in (applied.second / "data").iterdir()} == {
        "registry.db",
        "registry.db.sha256",
        ".files.sha256",
        "online_store.db",
    }


def test_nothing_is_written_in_the_repository(applied: Applied) -> None:
    assert {path for path in REPOSITORY.iterdir() if path.name != "__pycache__"} == {
        path for path in applied.repository_before if path.name != "__pycache__"
    }


@pytest.mark.parametrize("home", ["first", "second"])
def test_nightreel_finds_nothing_to_change_after_the_command(
    applied: Applied, home: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both ways in, and `nightreel run`, register the same: Feast's own plan has no change."""
    monkeypatch.setenv("NIGHTREEL_HOME", str(getattr(applied, home)))
    result = apply_definitions(load_settings())
    assert result.skipped
    assert store().get_feature_service(columns.HYBRID_RANKER).name == columns.HYBRID_RANKER


def test_before_apply_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTREEL_HOME", str(tmp_path))
    with pytest.raises(InputError, match="cd feature_repo && feast apply"):
        store()


def test_settings_of_another_home_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NIGHTREEL_HOME", raising=False)
    there = settings_for(tmp_path / "there")
    monkeypatch.setenv("NIGHTREEL_HOME", str(tmp_path / "here"))
    with pytest.raises(InputError, match="NIGHTREEL_HOME"):
        apply_definitions(there)
    assert not list(tmp_path.iterdir())  # nothing made on the way


@pytest.mark.parametrize("stored", ["relative", "absolute"])
def test_a_moved_home_reads_its_own_files(
    applied: Applied, stored: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy, with the registry of this version or an earlier one, and the original away or not."""
    copy = tmp_path / "copy"
    shutil.copytree(applied.first, copy)
    registry = copy / "data" / "registry.db"
    paths = [source.file_options.uri for source in _registry(registry.read_bytes()).data_sources]
    # The source of what a request brings has none. Feast stores sources in any order.
    assert sorted(path.startswith("data/features/") for path in paths if path) == [True] * len(VIEWS)
    if stored == "absolute":
        older = _registry(registry.read_bytes())
        for source in [older.data_sources, *([view.spec.batch_source] for view in older.feature_views)]:
            for one in source:
                if one.file_options.uri:
                    one.file_options.uri = str(applied.first / one.file_options.uri)
        registry.write_bytes(older.SerializeToString())
        for checksum in (copy / "data").glob("*.sha256"):
            checksum.unlink()  # that version wrote none
    monkeypatch.setenv("NIGHTREEL_HOME", str(copy))
    opened = store()
    for view in opened.list_feature_views():
        assert Path(view.batch_source.path).is_relative_to(copy), view.name
    for view in opened.list_on_demand_feature_views():
        for projection in view.source_feature_view_projections.values():
            assert Path(projection.batch_source.path).is_relative_to(copy), view.name
    earlier = opened.registry.get_feature_view_by_version("user_profile", opened.project, 0)
    assert Path(earlier.batch_source.path).is_relative_to(copy)
    assert apply_definitions(load_settings()).skipped


def test_a_registry_that_reads_another_homes_files_is_refused(
    applied: Applied, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another kind of registry, whose paths nightreel does not put below the home."""
    plain = tmp_path / "feature_store.yaml"
    plain.write_text(
        f"project: nightreel\nprovider: local\nregistry: {applied.first}/data/plain.db\n"
        "online_store:\n  type: feature_repo.home.HomeSqliteOnlineStore\n"
        "offline_store:\n  type: feast_asof.AsOfOfflineStore\nentity_key_serialization_version: 3\n"
    )
    monkeypatch.setenv("FEAST_FS_YAML_FILE_PATH", str(plain))
    monkeypatch.setenv("NIGHTREEL_HOME", str(applied.first))
    apply_definitions(load_settings())
    assert store()
    copy = tmp_path / "copy"
    shutil.copytree(applied.first, copy)
    monkeypatch.setenv("NIGHTREEL_HOME", str(copy))
    with pytest.raises(InputError, match=f"reads {applied.first}.*feast apply"):
        store()


def test_a_damaged_registry_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NIGHTREEL_HOME", str(tmp_path))
    settings = settings_for(tmp_path)
    settings.paths.registry.parent.mkdir(parents=True)
    settings.paths.registry.write_bytes(b"\xff\xff not a registry")
    with pytest.raises(InputError, match=r"registry\.db: damaged.*feast apply"):
        store()
