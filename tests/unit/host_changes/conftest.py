"""A machine that is a plain directory."""
