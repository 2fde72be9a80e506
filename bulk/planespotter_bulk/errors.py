"""Errors of bulk commands: the text says what is wrong and how to fix it."""

RETRY_EXIT_CODE = 75
"""EX_TEMPFAIL of sysexits.h: the same command can succeed later, so a supervisor should run it again."""


class BulkError(Exception):
    """A bulk command cannot do its work."""

    exit_code = 1


class TemporaryError(BulkError):
    """The same command can succeed later; it resumes from the answers committed so far."""

    exit_code = RETRY_EXIT_CODE
