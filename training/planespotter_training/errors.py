"""The error that the commands of this package show to a user."""


class TrainingError(Exception):
    """Training, evaluation or export cannot continue; the text says what is wrong and how to fix it."""
