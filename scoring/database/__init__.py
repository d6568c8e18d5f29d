"""Writing lists to the table that apps read, and reading it: SQLite and PostgreSQL."""
