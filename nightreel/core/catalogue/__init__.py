"""The one catalogue of features: each is an entry, and views, service, encodings and docs follow from it.

A user's own module (setting `[features] modules`) holds a list `features` of `Feature`: docs/own-features.md.
"""

from nightreel.core.catalogue.catalogue import Catalogue, catalogue_of
from nightreel.core.catalogue.entries import Feature, View

__all__ = ["Catalogue", "Feature", "View", "catalogue_of"]
