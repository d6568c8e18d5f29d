"""`[cluster]`: where heavy steps run."""

from typing import Literal

from pydantic import Field

from nightreel.core.settings.section import Section


class ClusterSettings(Section):
    """This process, or a Ray cluster."""

    engine: Literal["local", "ray"] = Field(
        default="local",
        description="Where heavy steps run: in this process, or on a Ray cluster (extra `nightreel[ray]`).",
    )
    ray_address: str | None = Field(
        default=None,
        description="Address of the Ray cluster, e.g. `10.0.0.5:6379`, or `auto` on one of its machines; not "
        "set: the step starts Ray on this machine.",
    )
    shared_dir: str | None = Field(
        default=None,
        description="Folder or URL (`s3://`, `gs://`, `file://`) that every node of the cluster reaches, for "
        "parts of tonight's lists; by default `data/shared` in the home.",
    )
