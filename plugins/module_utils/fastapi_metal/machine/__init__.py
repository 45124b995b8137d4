"""The machine: what the engine asks of it (`interface`), and how Debian answers."""
