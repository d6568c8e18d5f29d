"""The project, and who and what features are about: users, videos, and what groups videos."""

from feast import Entity, Project, ValueType

from nightreel.core.catalogue.entries import ENTITIES

OWNER = "nightreel"

nightreel = Project(
    name="nightreel",
    description="Features of users and short videos, each value stamped when it became known.",
    owner=OWNER,
)

FEAST_ENTITIES = {
    name: Entity(
        name=name,
        join_keys=[entity.join_key],
        value_type=ValueType.INT64,
        description=entity.description,
        owner=OWNER,
    )
    for name, entity in ENTITIES.items()
}
