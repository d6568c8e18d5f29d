"""Candidate sources: each is fitted on plays before a cutoff and scores videos for users of tonight."""
