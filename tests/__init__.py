"""Tests; a package, so that tests/test_steering.py and tests/checks/test_steering.py can both exist."""
