"""All hosts of an application at once: what is decided after a step, and whose run it is. Controller only."""
