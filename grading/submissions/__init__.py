"""Read an LMS export and find the cells that each task needs."""
