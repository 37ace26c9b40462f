"""Read structures and their targets from QM9 or from files, and count what they are made of."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(__name__, submodules=["datasets"])
