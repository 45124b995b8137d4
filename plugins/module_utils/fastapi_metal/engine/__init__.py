"""What every step has at hand: one application on one machine, and the effects by which alone it changes."""
