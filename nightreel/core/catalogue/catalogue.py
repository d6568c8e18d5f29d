"""All views and features of a home: nightreel's own entries and those of the user's modules."""

from collections.abc import Iterator
from dataclasses import dataclass

from nightreel.core.catalogue import builtin, recent_and_pairs
from nightreel.core.catalogue.declared import OWN, declared_views
from nightreel.core.catalogue.entries import Feature, View
from nightreel.core.catalogue.own import own_views
from nightreel.core.settings import DataSettings, FeatureSettings


@dataclass(frozen=True)
class Catalogue:
    """All feature views; those that the rankers read are in the order in which they read them."""

    views: tuple[View, ...]

    @property
    def stored(self) -> tuple[View, ...]:
        """The views whose values are stored in parquet."""
        return tuple(view for view in self.views if view.is_stored)

    @property
    def own(self) -> tuple[View, ...]:
        """The views that a home has besides nightreel's: from the user's modules, and of declared columns."""
        return tuple(view for view in self.views if view.group == OWN)

    @property
    def ranked(self) -> tuple[tuple[View, tuple[str, ...]], ...]:
        """The views that the rankers read features of, with these features."""
        return tuple((view, view.ranked) for view in self.views if view.ranked)

    @property
    def needed(self) -> tuple[View, ...]:
        """The stored views that models are trained on and lists are made from."""
        read_on_demand = (builtin.USER_FACTORS, builtin.VIDEO_FACTORS, recent_and_pairs.USER_CATEGORIES)
        return tuple(view for view in self.stored if view.ranked or view in read_on_demand)

    @property
    def categorical(self) -> frozenset[str]:
        """The features whose values are names or codes, not quantities."""
        return frozenset(one.name for _, one in self.features() if one.kind == "categorical")

    def view(self, name: str) -> View:
        """The view with this name."""
        return next(view for view in self.views if view.name == name)

    def features(self) -> Iterator[tuple[View, Feature]]:
        """Every feature with its view."""
        for view in self.views:
            for feature in view.features:
                yield view, feature


# nightreel's own views and features, without those that a home adds.
BUILTIN = Catalogue(builtin.VIEWS)


def catalogue_of(data: DataSettings, features: FeatureSettings) -> Catalogue:
    """The catalogue of a home. Raises InputError if one of the home's own modules is faulty."""
    views = (*builtin.VIEWS, *declared_views(data))
    return Catalogue((*views, *own_views(features, views)))
