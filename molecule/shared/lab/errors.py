"""The one exception whose text is shown to the user as it is."""


class LabError(Exception):
    """A sentence that says what is wrong and which way leads out."""
