"""Judging: a submission's answers against the reference solution's, and the points that follow."""
