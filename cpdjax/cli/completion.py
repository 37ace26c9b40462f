"""Complete names in the shell, without the libraries that compute: models, targets, choices."""

from __future__ import annotations

from collections.abc import Callable, Iterable

Completion = Callable[[str], list[str]]


def models(incomplete: str) -> list[str]:
    """Return the models whose names go on like that, after the last of several commas.

    >>> models("so3lr,coulomb-sp")
    ['so3lr,coulomb-spectrum']
    """
    from cpdjax.models import naming

    return _completed(incomplete, naming.shipped())


def architectures(incomplete: str) -> list[str]:
    """Return the architectures whose names go on like that."""
    from cpdjax.models import registry

    return _completed(incomplete, registry.names("architecture"))


def targets(incomplete: str) -> list[str]:
    """Return the targets of QM9 whose names go on like that, after the last of several commas.

    >>> targets("gap,al")
    ['gap,alpha', 'gap,alpha_anisotropy']
    """
    from cpdjax.data.qm9 import SCALAR_TARGETS

    return _completed(incomplete, SCALAR_TARGETS)


def one_of(words: Iterable[str]) -> Completion:
    """Return what completes one of these words."""
    known = tuple(words)

    def complete(incomplete: str) -> list[str]:
        return [word for word in known if word.startswith(incomplete)]

    return complete


def _completed(incomplete: str, names: Iterable[str]) -> list[str]:
    before, comma, last = incomplete.rpartition(",")
    taken = before.split(",")
    return [
        f"{before}{comma}{name}" for name in names if name.startswith(last) and name not in taken
    ]
