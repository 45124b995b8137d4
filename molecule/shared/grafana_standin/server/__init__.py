"""What the stand-in package runs on a machine: standard library and python3-yaml only."""
