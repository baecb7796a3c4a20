"""The one error that a person can cause."""


class PrimerError(ValueError):
    """Something a person gave was wrong; the message is one sentence that says what."""
