"""Exceptions of the renderer, with texts for users.

ModelError    skip one aircraft model: a file of it is missing, damaged or too large
RenderError   stop the command: the folder has no matching model, or the background photos cannot be used
"""


class ModelError(Exception):
    """A file of an aircraft model that cannot be used; the text is for users."""


class RenderError(Exception):
    """A rendering that cannot start or continue; the text is for users."""
