"""Tools for maintainers; the course itself needs none of them."""
