"""Build the students' notebooks from the masters, run the solutions end to end, and grade submissions."""
