"""The release engine: what turns a source into a running release and moves traffic to it.

Modules that run on hosts use the standard library only. Those that run on the
controller alone are named in `transport`.
"""
