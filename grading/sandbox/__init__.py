"""Sandbox: where a submission's code runs, apart from everything that it must not see."""
