"""Tools for maintainers; the course doesn't need them."""
