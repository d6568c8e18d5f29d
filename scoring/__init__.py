"""From models and features to the table that people query."""
