"""Training of an architecture on one target, which is imported when it is first used.

A saved model may hold a part of this folder, and needs neither Optax nor Orbax.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submod_attrs={"run": ["train"]})
