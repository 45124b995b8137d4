"""Grafana's dashboards as typed Python: `bin/dashboards` writes them as JSON where role grafana takes them from.

One module per dashboard; what panels have in common stands in `panels`, what dashboards have in common in `frame`.
"""
