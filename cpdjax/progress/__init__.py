"""Tell what a long computation is doing, on standard error or in a notebook's cell.

Code says `with stage("reading QM9"):` wherever something takes long. That shows nothing by itself:
a function with the argument `progress` says `with shown(progress):`, and from then on every stage
inside is shown, however deep. One display stands at a time, so a function that is called within
another one adds its stages to those of the caller.
"""

from cpdjax.progress.showing import count, erased, expect, paused, shown, stage

__all__ = ["count", "erased", "expect", "paused", "shown", "stage"]
