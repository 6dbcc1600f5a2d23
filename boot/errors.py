"""What keeps Doorito from running, said in one line."""


class CannotRunError(Exception):
    """Something outside the code is in the way; the message tells the operator what to do."""
