"""An application for tests: it says which release answers, and can be broken by its environment."""
