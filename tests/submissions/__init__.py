"""Submissions that are built by script: wrong, right but different, and hostile ones."""
