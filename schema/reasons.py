"""What graphql-core says of a request, without the values that it repeats; names, which are the document's own, stay.

Each pattern is of one of graphql-core's messages. What it repeats can be any text, so it is cut from the words before
it to the words that are known to come behind it, the last of them.
"""

import re

_FLAGS = re.ASCII | re.DOTALL
_NAME = r"'[A-Za-z_]\w*'"
_SYNTAX = (
    (re.compile(r"\b(Int|Float|String|BlockString) '.*'", _FLAGS), r"\1"),
    (re.compile(r"(Invalid number, expected digit before '\.').*", _FLAGS), r"\1."),
    (re.compile(r"(Invalid (?:Unicode|character) escape sequence).*", _FLAGS), r"\1."),
)
_VALUES = (
    (
        re.compile(
            r"( cannot represent non-(?:enum|string) value): .*(?=\.(?: Did you mean the enum value .*)?$)", _FLAGS
        ),
        r"\1",
    ),
    (re.compile(r"( cannot represent (?:[\w -]+ )?value): .*", _FLAGS), r"\1."),
    (re.compile(r"\bValue '.*' does not exist in '", _FLAGS), "The value does not exist in '"),
    # The name of a field comes from the values of variables, where it can be any text.
    (
        re.compile(
            r"(Expected value of type '[^']+'(?: to be an object| to include required field '\w+'"
            rf"| not to include unknown field(?: {_NAME})?)?)(?:(\. Did you mean (?:{_NAME}|, | or )+\?)| ?).*",
            _FLAGS,
        ),
        lambda found: found[1] + (found[2] or "."),
    ),
)


def reason(message: str) -> str:
    """The message with everything but the values."""
    for pattern, rest in _SYNTAX if message.startswith("Syntax Error") else _VALUES:
        message = pattern.sub(rest, message)
    return message
