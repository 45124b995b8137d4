"""An application for tests: it counts what it is asked, and can be made to suffer."""
