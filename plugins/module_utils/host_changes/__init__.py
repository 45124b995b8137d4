"""How configuration files land on a machine: together, checked, and so that nobody is locked out."""
