"""Build student notebooks, executed solutions and the handout from the masters."""
