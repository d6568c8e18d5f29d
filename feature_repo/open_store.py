"""Opens Feast's store on the current home, and registers the definitions there."""

import warnings
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

from feast import FeatureStore, FileSource
from feast.diff.property_diff import TransitionType
from feast.errors import FeatureServiceNotFoundException
from feast.feature_view import DUMMY_ENTITY
from feast.repo_contents import RepoContents
from feast.repo_operations import apply_total_with_repo_instance

from feature_repo.entities import FEAST_ENTITIES, key_type, nightreel
from feature_repo.home import REPOSITORY, current_settings, features_in_postgresql
from feature_repo.lists import list_views
from feature_repo.on_demand import ON_DEMAND, interaction_request
from feature_repo.services import service_of
from feature_repo.sources import point_sources_at
from feature_repo.views import VIEWS, own_views, set_key_types
from nightreel.core import columns
from nightreel.core.catalogue import Catalogue, catalogue_of
from nightreel.core.catalogue.declared import OWN
from nightreel.core.disk import full_disk_named
from nightreel.core.errors import InputError
from nightreel.core.settings import Paths
from nightreel.core.settings.needs import FeatureNeeds
from nightreel.core.steps import Facts, Step, StepResult


class ApplyFacts(Facts):
    """How many feature views are registered, on-demand ones included."""

    feature_views: int


def apply_definitions(settings: FeatureNeeds) -> StepResult[ApplyFacts]:
    """Register every definition in the registry of `settings.home`: `feast apply` without its prints.

    Works before any feature source is there. Applying the same definitions again changes nothing.

    Raises:
        InputError: if `settings` belong to another home than the one this process works on.
    """
    current = current_settings()
    if current.home != settings.home:
        raise InputError(
            f"{settings.home}: this process works on {current.home}.", "Set NIGHTREEL_HOME to the home."
        )
    with (
        full_disk_named(settings.paths.data),
        FEAST_APPLY.alone(settings),
    ):
        return _apply_definitions(settings)


def _apply_definitions(settings: FeatureNeeds) -> StepResult[ApplyFacts]:
    point_sources_at(settings.paths)
    set_key_types(settings.paths)
    fill_tables(settings)
    repository = _contents(settings)
    with warnings.catch_warnings(), redirect_stdout(StringIO()):
        # On-demand views are slow offline, Feast warns each time; ours are two, and known to be.
        warnings.filterwarnings("ignore", message="On demand feature view is an experimental feature")
        store = FeatureStore(repo_path=str(REPOSITORY))
        changes, _, _ = store.plan(repository)
        unchanged = all(
            change.transition_type == TransitionType.UNCHANGED for change in changes.feast_object_diffs
        )
        skipped = unchanged and (_is_remote(store) or settings.paths.online_store.is_file())
        if not skipped:
            apply_total_with_repo_instance(
                store, store.project, store.registry, repository, skip_source_validation=True
            )
    return StepResult(
        step=FEAST_APPLY.name,
        skipped=skipped,
        read=(REPOSITORY,),
        wrote=() if _is_remote(store) else (settings.paths.registry, settings.paths.online_store),
        facts=ApplyFacts(
            feature_views=len(repository.feature_views) + len(repository.on_demand_feature_views)
        ),
    )


def store(*, codes: bool = True) -> FeatureStore:
    """A fresh store on the current settings' home, with a fresh copy of its registry.

    Args:
        codes: whether text ids are joined by their codes, as nightreel's own steps do.

    Raises:
        InputError: if the definitions have not been registered there, read another home's files or have other
            types of ids.
    """
    settings = current_settings()
    paths = settings.paths
    registry = paths.registry
    remedy = "Run `cd feature_repo && feast apply` first, with the same home."
    opened = FeatureStore(repo_path=str(REPOSITORY))
    where = "Feast's registry" if _is_remote(opened) else str(registry)
    if not _is_remote(opened) and not registry.is_file():
        raise InputError(f"{registry}: no such registry.", remedy)
    try:
        opened.get_feature_service(columns.HYBRID_RANKER)
    except FeatureServiceNotFoundException:
        raise InputError(f"{where}: the feature service is not registered.", remedy) from None
    catalogue = catalogue_of(settings.data, settings.features)
    _require_own_sources(opened, catalogue, paths, where)
    _require_types_of_ids(opened, paths, where, remedy)
    # Steps read the sources themselves, also while the online store is being filled or if that was cut short.
    opened.registry.serve_features_while_materializing = True
    # A store that the user has chosen joins the files as they are.
    if hasattr(opened.config.offline_store, "codes"):
        opened.config.offline_store.codes = codes
    return opened


def _require_types_of_ids(opened: FeatureStore, paths: Paths, where: str, remedy: str) -> None:
    for entity in opened.list_entities():
        if entity.name in FEAST_ENTITIES and entity.value_type != key_type(entity.join_key, paths):
            raise InputError(f"{where}: the ids of {entity.name}s are of another type now.", remedy)


def _require_own_sources(opened: FeatureStore, catalogue: Catalogue, paths: Paths, where: str) -> None:
    """Raise InputError where views are not those of [features] modules, or read another home's files."""
    stored = {view.name for view in catalogue.stored}
    registered = opened.list_feature_views()
    own = {view.name: view.names for view in catalogue.own}
    known = {
        view.name: tuple(feature.name for feature in view.features)
        for view in registered
        if view.tags.get("group") == OWN
    }
    if own != known:
        raise InputError(
            f"{where}: its own views are {_shown(known)}; [features] modules has {_shown(own)}.",
            "Run `nightreel features`, then `cd feature_repo && feast apply`.",
        )
    for view in registered:
        source = view.batch_source
        if view.name in stored and isinstance(source, FileSource):
            expected = paths.feature_source(view.name)
            if Path(source.path) != expected:
                raise InputError(
                    f"{where}: the view {view.name} reads {source.path}, this home's file is {expected}.",
                    "Run `cd feature_repo && feast apply` with the right home.",
                )


def _shown(views: dict[str, tuple[str, ...]]) -> str:
    return "; ".join(f"{name} ({', '.join(features)})" for name, features in views.items()) or "none"


def fill_tables(settings: FeatureNeeds) -> None:
    """If the offline store's tables are in PostgreSQL, bring them up to date with the home's parquet."""
    if features_in_postgresql():
        from feature_repo import postgresql

        postgresql.fill_tables(
            settings.paths, [view.name for view in catalogue_of(settings.data, settings.features).stored]
        )


def _is_remote(store: FeatureStore) -> bool:
    """Whether the registry or the online store is another home's."""
    return bool(store.config.registry.registry_type == "sql")


def _contents(settings: FeatureNeeds) -> RepoContents:
    catalogue = catalogue_of(settings.data, settings.features)
    own = own_views(catalogue, settings.paths)
    views = (*VIEWS, *own, *list_views(settings.paths))
    return RepoContents(
        projects=[nightreel],
        data_sources=[*(view.batch_source for view in views), interaction_request],
        entities=[*FEAST_ENTITIES.values(), DUMMY_ENTITY],
        feature_views=list(views),
        on_demand_feature_views=list(ON_DEMAND),
        feature_services=[service_of(catalogue, own)],
        stream_feature_views=[],
        label_views=[],
        permissions=[],
    )


FEAST_APPLY: Step[ApplyFacts] = Step(
    name="feast apply",
    does="Register entities, views and the service in Feast's registry.",
    reads=lambda _: (REPOSITORY,),
    writes=lambda settings: (settings.paths.registry, settings.paths.online_store),
    settings=("features.modules",),
    facts=ApplyFacts,
    run=lambda settings, _: apply_definitions(settings),
)
