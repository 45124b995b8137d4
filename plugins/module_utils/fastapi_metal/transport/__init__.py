"""The way of a step to a host and of its result back: `controller` is one end, `host` the other."""
