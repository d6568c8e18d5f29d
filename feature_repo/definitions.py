"""The objects that `feast apply` registers: every one of the catalogue, and none twice."""

import warnings

from feature_repo.entities import FEAST_ENTITIES, nightreel
from feature_repo.home import current_settings
from feature_repo.lists import list_views
from feature_repo.on_demand import ON_DEMAND, interaction_request
from feature_repo.services import service_of
from feature_repo.views import VIEWS, own_views
from nightreel.core.catalogue import catalogue_of

__all__ = ["hybrid_ranker", "interaction_request", "nightreel"]

_settings = current_settings()
_catalogue = catalogue_of(_settings.data, _settings.features)
_own = own_views(_catalogue, _settings.paths)
_lists = list_views(_settings.paths)
hybrid_ranker = service_of(_catalogue, _own)
# Feast registers what has a name in this module.
globals().update({f"view_{view.name}": view for view in (*VIEWS, *ON_DEMAND, *_own, *_lists)})
globals().update({f"entity_{name}": entity for name, entity in FEAST_ENTITIES.items()})

# Feast warns at every `apply` that on-demand views are slow offline; ours are few, and known to be.
warnings.filterwarnings("ignore", message="On demand feature view is an experimental feature")
