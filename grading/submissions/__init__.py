"""Submissions: from an LMS export to the cells that a task needs."""
