"""cpdjax: what does an atomistic model know beyond composition, where, and in which channel?

cpdjax answers with Compositional Probe Decomposition (CPD), in closed form, batched, in JAX. `cpd`
and `learning_curve` are pure functions of arrays; `sweep` runs them over everything.

The public names are in `__init__.pyi`. Each is imported when it is first used, because all of them
together take seconds.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
