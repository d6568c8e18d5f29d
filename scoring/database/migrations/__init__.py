"""The published schema's versions, one Alembic migration each; `scoring.database.schema` runs them."""
