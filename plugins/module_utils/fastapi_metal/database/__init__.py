"""The application's database: whether its schema fits a release, and whose turn it is to change it."""
