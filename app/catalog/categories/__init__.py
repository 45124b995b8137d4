"""Categories: what products are sorted into."""
