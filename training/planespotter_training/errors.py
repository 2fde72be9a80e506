"""What the commands of this room tell a user."""


class TrainingError(Exception):
    """Training, evaluation or export cannot go on; the text says why and what to do."""
