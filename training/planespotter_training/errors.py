"""Base exception of training: its text is for users, and the command line prints it without a traceback."""


class TrainingError(Exception):
    """Training, evaluation or export cannot continue; the text says what is wrong and how to fix it."""
