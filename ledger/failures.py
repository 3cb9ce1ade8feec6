"""Describe an unexpected exception by its class and its place in this software. Never by its message, which may be
personal.

Interpreting an event and folding a subject are pure, and may fail on unforeseen content. Such a failure affects one
event or one subject. Its description is what the operator reports.
"""

import traceback

PACKAGES = ("ledger", "projections", "service")


def describe_failure(error: BaseException) -> str:
    """Return the class of an exception and the innermost place in our code: "Overflow in ledger/parsing.py:parse_json".

    There is no line number, so the description stays the same from one release to the next.
    """
    name = type(error).__name__
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        module = frame.f_globals.get("__name__", "")
        if module.partition(".")[0] in PACKAGES:
            return f"{name} in {module.replace('.', '/')}.py:{frame.f_code.co_name}"
    return name
