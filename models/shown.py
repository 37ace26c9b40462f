"""Show a model in a notebook: its layers, and what it knows."""

from __future__ import annotations

from cpdjax.displays import Shown
from cpdjax.errors import UnknownNameError
from cpdjax.models.interface import Model


def shown(model: Model) -> Shown:
    """Return the table of a model: a row for each layer."""
    facts = [
        "no neighbour list" if model.cutoff is None else f"cutoff {model.cutoff:g} Å",
        _named(model.elements),
        "with periodic cells" if model.periodic else "without periodic cells",
    ]
    facts += [] if model.parity else ["irreps hold for rotations only"]
    licence = _licence(model.name)
    facts += [f"licence {licence}"] if licence else []
    rows = [(layer, irreps, irreps.dim) for layer, irreps in model.irreps.items()]
    title = f"{type(model).__name__} {model.name}: {', '.join(facts)}"
    return Shown(title, ("layer", "irreps", "columns"), rows)


def _named(elements: tuple[int, ...] | None) -> str:
    """Return the elements that a model knows, no more than a line holds."""
    from ase.data import chemical_symbols

    if elements is None:
        return "any element"
    if len(elements) > 12:
        first, last = chemical_symbols[min(elements)], chemical_symbols[max(elements)]
        return f"{len(elements)} elements from {first} to {last}"
    return f"elements {' '.join(chemical_symbols[z] for z in sorted(elements))}"


def _licence(name: str) -> str:
    """Return the licence of a model that comes with cpdjax; "" for a model of one's own."""
    from cpdjax.models.cards import card_of

    try:
        return card_of(name).licence
    except UnknownNameError:
        return ""
