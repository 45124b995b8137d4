"""The release engine: what turns a source into a running release and moves traffic to it.

Each folder is one thing, and says in its first line what, and where it runs. What `transport.host` imports,
at whatever distance, goes to the hosts and uses the standard library only; the rest stays on the controller.
"""
