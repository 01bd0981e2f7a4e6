"""Kernels: every speed trick. Each one has a plain version, which runs where the trick can't."""
