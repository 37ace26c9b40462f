"""cpdjax: what does an atomistic model know beyond composition, where, and in which channel?

cpdjax answers with Compositional Probe Decomposition (CPD), in closed form, batched, in JAX. `cpd`
and `learning_curve` are pure functions of arrays; `sweep` runs them over everything.

The public names are in `__init__.pyi`. Each is imported when it is first used, because all of them
together take seconds.
"""

import logging
from typing import Any

import lazy_loader

_public, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
# Whoever wants to read what the package logs says so; until then nothing is written.
logging.getLogger(__name__).addHandler(logging.NullHandler())


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used."""
    if name == "__version__":
        from importlib.metadata import version

        return version(__name__)
    return _public(name)
