"""Lists of a run, out of the database: to a file, or to Redis."""

from scoring.exporting.files import export, export_shared
from scoring.exporting.redis import export_to_redis

__all__ = ["export", "export_shared", "export_to_redis"]
