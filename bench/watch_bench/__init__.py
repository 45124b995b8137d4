"""bench/watch: what watching takes, at rest on one machine and with a hundred simulated ones."""
