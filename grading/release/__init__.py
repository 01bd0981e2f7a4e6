"""Release: masters become student notebooks, executed solutions and the handout."""
