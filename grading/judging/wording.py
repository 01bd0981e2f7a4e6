"""Say in words what went wrong in a student's code, without revealing a hidden input."""

from __future__ import annotations

import builtins
import re

from grading.submissions.slicing import Submission


def in_words(error, submission: Submission, wanted: tuple[str, ...] | None = None) -> str:
    """Return an error in the student's code as a sentence that reveals no hidden input.

    A line is quoted only if it occurs in the submission. An error type is named only if it is Python's or occurs in the
    submission. ``wanted`` is given for errors in a hidden test; their message is left out, as it could hold the input.
    """
    error = error if isinstance(error, dict) else {}
    kind, line, text, message = (error.get(name) for name in ("type", "line", "text", "message"))
    sources = [cell.source for cell in submission.cells]
    kind = (
        kind
        if isinstance(kind, str)
        and (hasattr(builtins, kind) or (kind.isidentifier() and any(kind in source for source in sources)))
        else "an error"
    )
    if error.get("type") == "NotDone":
        named = re.search(r"\bin ((?:\w+\.)*(\w+)), replace", str(message)[:500])
        return f"{named[1] if named and any(named[2] in source for source in sources) else 'it'} isn't done yet"
    if wanted and kind == "KeyError" and isinstance(message, str) and message.strip("'\"") in wanted:
        return f"there is no {message}: the cell that defines it is missing, or stopped before defining it"
    known = isinstance(text, str) and len(text) > 3 and any(text in source for source in sources)
    where = f" in line {line}: {text[:120]}" if known and isinstance(line, int) else ""
    return f"your code raises {kind}{where}" + (f" ({str(message)[:200]})" if wanted is None and message else "")
