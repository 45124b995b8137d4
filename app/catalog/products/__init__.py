"""Products: what the catalogue is about."""
