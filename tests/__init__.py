"""Tests; a package, so that tests/steering/test_curves.py and tests/checks/test_steered_text.py can both exist."""
