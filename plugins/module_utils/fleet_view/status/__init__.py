"""What runs now, at a glance: asked, printed, drawn. Controller only."""
