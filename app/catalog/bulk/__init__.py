"""Many products at once: import of a file, export of a list."""
