"""Errors of the renderer."""


class ModelError(Exception):
    """A file of an aircraft model that cannot be used; the text is for users."""


class RenderError(Exception):
    """A rendering that cannot start or continue; the text is for users."""
