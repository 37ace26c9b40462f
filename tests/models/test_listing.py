"""The list of models, which loads none of them, says what the loaded models say."""

import json

import pytest
from goldens.make_listing import record

from cpdjax import models
from cpdjax.models import listing, naming


def test_every_model_is_listed_in_the_order_of_the_names():
    assert tuple(listing.listed()) == models.names()


def _costly(name):
    """Untrained networks take seconds to draw their weights: one of them stands for all."""
    later = naming.untrained(name) and name != "schnet-untrained"
    return pytest.param(name, marks=pytest.mark.slow) if later else name


@pytest.mark.parametrize("name", [_costly(name) for name in models.names()])
def test_a_loaded_model_says_what_its_record_says(name):
    known = listing.listed()[name]
    if not known.card.installed:
        pytest.skip(f"the weights of {name} are not installed")
    assert record(name) == json.loads(listing.FILE.read_text(encoding="utf-8"))[name]
    known.check()
