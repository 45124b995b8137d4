"""Figures of the application: how fast it answers, and what it takes."""
