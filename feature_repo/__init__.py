"""Feast definitions: entities, sources, views, on-demand views and the feature service."""
