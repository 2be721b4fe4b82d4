"""The one error that this library raises on purpose."""


class GANError(ValueError):
    """A mistake that the caller can correct: one sentence that names the thing and the remedy."""
