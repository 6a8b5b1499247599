"""Errors that a user sees as one line."""


class UmbenchError(Exception):
    """Base of all errors shown as one clear line; `exit_status` is what the command returns."""

    exit_status = 2


class InputError(UmbenchError):
    """Wrong usage or input: names the file or key, what is wrong and what to do."""


class NotMeasuredError(UmbenchError):
    """Something could not be measured."""

    exit_status = 3
