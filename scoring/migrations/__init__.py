"""The published schema's versions, one Alembic migration each; `scoring.schema` runs them."""
