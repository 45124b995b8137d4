"""A product catalogue, written the way the deployment in this repository wants an application to be."""

__version__ = "1.0.0"
