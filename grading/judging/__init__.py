"""Compare a submission's answers with the reference solution's, and turn the result into points."""
