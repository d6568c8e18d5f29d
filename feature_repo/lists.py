"""The feature view of users' lists: there is one once lists have been exported to Feast."""

import pyarrow as pa
import pyarrow.parquet as pq
from feast import FeatureView, Field, FileSource
from feast.data_format import ParquetFormat
from feast.types import Array, Float32, Int64, String, UnixTimestamp

from feature_repo.entities import FEAST_ENTITIES, OWNER
from feature_repo.views import FOR_EVER
from nightreel.core import columns
from nightreel.core.settings import Paths

NAME = "user_recommendation"
VIDEO_IDS, SCORES, AS_OF = "video_ids", "scores", "as_of"


def list_views(paths: Paths) -> tuple[FeatureView, ...]:
    """The view over the file that `nightreel export --to feast` writes; none before the first."""
    file = paths.feature_source(NAME)
    if not file.is_file():
        return ()
    schema = pq.read_schema(file)
    is_text = pa.types.is_string(schema.field(VIDEO_IDS).type.value_type)
    key_is_text = pa.types.is_string(schema.field(columns.USER_ID).type)
    view = FeatureView(
        name=NAME,
        entities=[FEAST_ENTITIES["user"]],
        ttl=FOR_EVER,
        schema=[
            Field(name=columns.USER_ID, dtype=String if key_is_text else Int64),
            Field(
                name=VIDEO_IDS, dtype=Array(String if is_text else Int64), description="The list, best first."
            ),
            Field(name=SCORES, dtype=Array(Float32), description="What orders it, one for each video."),
            Field(name=AS_OF, dtype=UnixTimestamp, description="What was known before then made the list."),
            Field(name=columns.RUN_ID, dtype=Int64, description="The run in recommendation_run."),
        ],
        source=FileSource(
            name=f"{NAME}_source",
            path=str(file),
            file_format=ParquetFormat(),
            timestamp_field=columns.EVENT_TIMESTAMP,
            description="Lists of the run that was exported last, stamped when that was.",
            owner=OWNER,
        ),
        online=True,
        description="Each user's list; empty for a user who has none any more.",
        owner=OWNER,
        tags={"group": "lists"},
    )
    return (view,)
