"""What is known of each model beside its numbers: family, licence, training data, package."""

from __future__ import annotations

from cpdjax.errors import UnknownNameError
from cpdjax.models import registry, zoo
from cpdjax.models.interface import Card


def card_of(name: str) -> Card:
    """Return the card of a model of `cpdjax.models.names()`.

    Raises:
        UnknownNameError: no model has this name.

    >>> card_of("ani-2x-aev").installed
    True
    """
    registered = registry.pretrained()
    if name in registered:
        return registry.file_of(registered[name]).CARDS[name]
    trained = zoo.card(name)
    if not trained:
        raise UnknownNameError("model", name, (*registered, *zoo.names()))
    data = f"{trained['molecules']:,} molecules of {trained['dataset']}, {trained['target']}"
    return Card(trained["architecture"], "Apache-2.0", data)
