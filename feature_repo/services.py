"""The feature service `hybrid_ranker`: exactly what the rankers read, in order."""

from collections.abc import Iterable

from feast import FeatureService, FeatureView

from feature_repo.entities import OWNER
from feature_repo.on_demand import ON_DEMAND
from feature_repo.views import VIEWS
from nightreel.core import columns
from nightreel.core.catalogue import Catalogue


def service_of(catalogue: Catalogue, own: Iterable[FeatureView]) -> FeatureService:
    """The service of a home's catalogue.

    Args:
        own: the feature views of the user's own modules.
    """
    views = {view.name: view for view in (*VIEWS, *ON_DEMAND, *own)}
    return FeatureService(
        name=columns.HYBRID_RANKER,
        features=[
            views[view.name] if names == view.names else views[view.name][list(names)]
            for view, names in catalogue.ranked
        ],
        description="Every feature that the classifier and the regressor read, in their order.",
        owner=OWNER,
        tags={"models": "classifier, regressor"},
    )
