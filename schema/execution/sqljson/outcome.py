"""Why a selection is left to the executor."""


class NotPlain(Exception):
    """Part of a selection needs Python, or an error has to be made: the executor takes the root field over."""
