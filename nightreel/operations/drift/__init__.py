"""Drift: do the newest day's plays still look like those that the champion was trained on?"""
