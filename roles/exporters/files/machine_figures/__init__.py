"""What a machine says of itself to Prometheus besides its exporters: units, releases, certificates, packages.

It runs on the machine with Debian's Python and its standard library alone.
"""
