"""An application's lines over the fleet: what may be asked, and how the lines are shown. Controller only."""
