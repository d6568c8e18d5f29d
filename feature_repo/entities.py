"""The project, and who and what features are about: users and videos."""

from feast import Entity, Project, ValueType

from nightreel import columns

OWNER = "nightreel"

nightreel = Project(
    name="nightreel",
    description="Features of users and short videos, each value stamped when it became known.",
    owner=OWNER,
)

user = Entity(
    name="user",
    join_keys=[columns.USER_ID],
    value_type=ValueType.INT64,
    description="A person who watches.",
    owner=OWNER,
)
video = Entity(
    name="video",
    join_keys=[columns.VIDEO_ID],
    value_type=ValueType.INT64,
    description="A short video.",
    owner=OWNER,
)
