"""Run a submission's code in a sandbox, isolated from everything that it must not see."""
