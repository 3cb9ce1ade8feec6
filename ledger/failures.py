"""Name a failure: which exception, and where in this software. Never what it says, which may be personal.

Reading an event and folding a subject are pure, and may fail on content that nobody has foreseen. Such a failure costs
the one event or subject; its name tells the operator what to report.
"""

import traceback

PACKAGES = ("ledger", "projections", "service")


def describe_failure(error: BaseException) -> str:
    """Return the class of an exception and the innermost place of ours: "Overflow in ledger/parsing.py:read".

    There is no line number, so that the name stays the same from one release to the next.
    """
    name = type(error).__name__
    for frame, _ in reversed(list(traceback.walk_tb(error.__traceback__))):
        module = frame.f_globals.get("__name__", "")
        if module.partition(".")[0] in PACKAGES:
            return f"{name} in {module.replace('.', '/')}.py:{frame.f_code.co_name}"
    return name
