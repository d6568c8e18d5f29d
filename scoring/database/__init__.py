"""From lists in memory to the table that apps read, and what is read from it: SQLite and PostgreSQL."""
