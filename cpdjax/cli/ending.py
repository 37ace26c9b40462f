"""End the command at once, from any thread and with one line."""

from __future__ import annotations

import os
import sys


def end(why: str, status: int = 2) -> None:
    """Remove what is temporary, say why, and end without the ends of other threads."""
    files = sys.modules.get("cpdjax.files")  # not yet there during the first imports
    try:
        getattr(files, "abandon", lambda: None)()
    finally:
        progress = sys.modules.get("cpdjax.progress")
        # What shows progress stands in the way and hides the cursor.
        cleared = progress.erased() if progress and os.isatty(2) else ""
        try:
            os.write(2, f"{cleared}cpdjax: {why}\n".encode())
        finally:
            os._exit(status)
