"""What a release is: its settings and identity, where it lies, and the texts of its units."""
