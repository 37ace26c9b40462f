"""The choices of a probe are declared once: signatures, settings and the command line read them."""

import inspect
from dataclasses import fields
from typing import get_args

import numpy as np
import pytest
from helpers import call

import cpdjax
from cpdjax.configuration import fields_of, help_texts
from cpdjax.errors import UnknownNameError
from cpdjax.kernel.options import Choices, Options
from cpdjax.sweeps.probe_kinds import KINDS
from cpdjax.sweeps.settings import Config, Kind, Settings

CHOICES = {field.name: field.default for field in fields(Choices)}
OF_SCALARS = [cpdjax.cpd, cpdjax.learning_curve, cpdjax.permutation_test, cpdjax.bootstrap]
OF_TENSORS = [
    *(cpdjax.equivariant_cpd, cpdjax.equivariant_permutation_test),
    *(cpdjax.equivariant_bootstrap, cpdjax.atom_cpd, cpdjax.ladder),
]


def shown(function):
    parameters = inspect.signature(function).parameters
    assert all(p.kind is not p.VAR_KEYWORD for p in parameters.values())
    return {name: p.default for name, p in parameters.items()}


@pytest.mark.parametrize("function", OF_SCALARS, ids=lambda f: f.__name__)
def test_every_choice_is_in_the_signature(function):
    assert CHOICES.items() <= shown(function).items()


@pytest.mark.parametrize("function", OF_TENSORS, ids=lambda f: f.__name__)
def test_nothing_is_projected_out_of_tensors(function):
    rest = {name: default for name, default in CHOICES.items() if name != "projection"}
    assert rest.items() <= shown(function).items()
    assert "projection" not in shown(function)


@pytest.mark.parametrize("function", [*OF_SCALARS, *OF_TENSORS], ids=lambda f: f.__name__)
def test_a_choice_that_does_not_exist_is_refused_by_name(function):
    with pytest.raises(UnknownNameError, match=f"unknown option of {function.__name__} 'standard"):
        function(standardise=True)


def test_tensors_have_no_projection():
    X, Y = np.ones((6, 1, 3)), np.ones((6, 3))
    with pytest.raises(UnknownNameError, match="unknown option of equivariant_cpd 'projection'"):
        cpdjax.equivariant_cpd(X, Y, projection="ols")


@pytest.mark.parametrize("reader", [Options, Settings, Config])
def test_options_and_settings_read_the_same_defaults(reader):
    assert CHOICES.items() <= vars(reader()).items()


def test_the_command_line_shows_every_setting_with_its_help_and_default():
    printed = " ".join(call("sweep", "--help")[1].replace("│", " ").split())
    texts = help_texts(Config)
    assert texts.keys() == fields_of(Config).keys()
    for name, text in texts.items():
        assert f"--{name.replace('_', '-')}" in printed
        assert " ".join(text.split()[:3]) in printed
    assert "[default: ols]" in printed


def test_every_kind_of_probe_has_its_object():
    assert tuple(KINDS) == get_args(Kind)
