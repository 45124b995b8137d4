"""What people see of a fleet: its state at a glance, and what its applications say. Controller only."""
