"""The outcome that another policy would have had, from drawn rows and their outcomes."""
