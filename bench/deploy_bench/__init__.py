"""Measures a deploy of one application by several tools, on the same machines and in the same run."""
