"""The release engine: what turns a source into a running release and moves traffic to it.

Modules that run on hosts use the standard library only. What `host` imports goes
there; the rest stays on the controller.
"""
