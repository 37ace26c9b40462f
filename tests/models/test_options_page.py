"""The page of options lists every hyperparameter that `from_state_dict` reads, and no other."""

import re

import pytest
from helpers import ROOT

from cpdjax import models
from cpdjax.errors import UnknownNameError
from cpdjax.models import registry
from cpdjax.models.weights import translate

PAGE = (ROOT / "notebooks" / "from-state-dict.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (\S+)\n(.*?)(?=^## |\Z)", PAGE, re.M | re.S))


class Seen(Exception):
    """The names have been seen; nothing else is needed of the function."""


def names_of(architecture, monkeypatch):
    """The options that the code knows, and those that it takes and does not read."""
    seen = []

    def only(what, config, known, unread=()):
        seen.extend([set(known), set(unread)])
        raise Seen

    module = registry.file_of(architecture)
    for place in (translate, module):
        for name, value in (("only", only), ("require", lambda *_: None)):
            if hasattr(place, name):
                monkeypatch.setattr(place, name, value)
    with pytest.raises(Seen):
        module.from_state_dict({}, {})
    return seen


def listed(architecture):
    """The options in the first column of an architecture's table."""
    rows = re.findall(r"^\| (`.*?) \|", SECTIONS[architecture], re.M)
    return {name for row in rows for name in re.findall(r"`(\w+)`", row)}


@pytest.mark.parametrize("architecture", models.architectures())
def test_every_option_is_on_the_page(architecture, monkeypatch):
    known, unread = names_of(architecture, monkeypatch)
    names = listed(architecture)
    plain = {name for name in unread if "*" not in name}
    assert names - known - plain == set()
    assert known - names == set()
    if architecture != "nequip":  # a checkpoint says much else, which the page sums up
        assert plain - names == set()


@pytest.mark.parametrize("architecture", models.architectures())
def test_an_option_that_is_not_listed_is_refused(architecture):
    with pytest.raises((UnknownNameError, models.naming.InputError)):
        models.from_state_dict(architecture, {"no_such_option": 1}, {})


def test_every_architecture_has_a_section():
    assert set(SECTIONS) == set(models.architectures())
