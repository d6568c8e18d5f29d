"""The project, and the entities that features are about: users, videos, and groups of videos."""

from feast import Entity, Project, ValueType

from feature_repo.home import current_settings
from nightreel.core.catalogue.entries import ENTITIES
from nightreel.core.ids import NAMES, Ids
from nightreel.core.settings import Paths

OWNER = "nightreel"

nightreel = Project(
    name="nightreel",
    description="Features of users and short videos, each value stamped when it became known.",
    owner=OWNER,
)


def key_type(key: str, paths: Paths) -> ValueType:
    """The type of a join key in a home: text where the ids of users or videos are."""
    is_text = key in NAMES and Ids.of(paths, key).is_text
    return ValueType.STRING if is_text else ValueType.INT64


_paths = current_settings().paths
FEAST_ENTITIES = {
    name: Entity(
        name=name,
        join_keys=[entity.join_key],
        value_type=key_type(entity.join_key, _paths),
        description=entity.description,
        owner=OWNER,
    )
    for name, entity in ENTITIES.items()
}
