"""A Feast offline store for point-in-time joins at the size of one machine's disk, not of its memory.

`offline_store: {type: feast_asof.AsOfOfflineStore}` in `feature_store.yaml` chooses it.
"""

from feast_asof.errors import AsOfError
from feast_asof.retrieval_job import AsOfRetrievalJob
from feast_asof.store import AsOfOfflineStore, AsOfOfflineStoreConfig

__all__ = ["AsOfError", "AsOfOfflineStore", "AsOfOfflineStoreConfig", "AsOfRetrievalJob"]
