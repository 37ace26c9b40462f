"""Settings are what they must be, within bounds, or refused in one line before any work."""

import itertools
import tomllib

import numpy as np
import pytest
from helpers import call, one_line
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import cpdjax
from cpdjax.cli import sweeps as commands
from cpdjax.configuration import checked, fields_of
from cpdjax.errors import InputError
from cpdjax.features.sources import collect
from cpdjax.representations.settings import SpaceConfig
from cpdjax.studies.reproduction import subjects
from cpdjax.sweeps.settings import Config, Settings

COUNTS = ("repeats", "folds", "permutations", "bootstrap", "seed", "n")
NO_COUNTS = (2**33, 10**18, 10**400, -1, True, 1.5, float("nan"), float("inf"), "x", [5])
WRONG = {
    **dict.fromkeys(COUNTS, NO_COUNTS),
    "sizes": (1, 0, -5, 10**18, [10**18], [True], [2.5], [float("nan")], [], [[50]], {"a": 50}),
    "alphas": (
        -1,
        float("nan"),
        float("inf"),
        1e300,
        True,
        [1.0, -1.0],
        [],
        [[1.0]],
        "lo",
        10**400,
    ),
    "layers": (1, [1], [], [["a"]], {"a": "b"}, range(2, 10**9), itertools.count()),
    "pool": ("max", ["mean"], 1, True),
    "standardize": (None, 2, "maybe", [True]),
    "dtype": ("int", 64, None),
    "targets": (1, [1], {"a": 1}, True),
    "features": ([], [1], {"a": 1}),
    "out": (1, ["a"], True),
}
BAD = [(name, value) for name, values in WRONG.items() for value in values]


def nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(("name", "value"), BAD, ids=[name for name, _ in BAD])
def test_a_setting_out_of_bounds_is_refused_by_name(name, value):
    with pytest.raises(InputError) as caught:
        checked(Config, {name: value})
    one_line(caught, f"{name}: ")
    assert len(str(caught.value)) < 600


def test_the_bound_is_in_the_message():
    with pytest.raises(InputError, match="less than or equal to 1000000, got 1000000000"):
        checked(Settings, {"repeats": 10**9})


@pytest.mark.parametrize("name", ["sizes", "layers", "alphas", "targets", "pool", "seed"])
def test_deep_values_are_refused(name):
    with pytest.raises(InputError) as caught:
        checked(Config, {name: nested(50_000)})
    one_line(caught, name)


def test_what_numpy_holds_is_taken():
    found = checked(Settings, {"repeats": np.int64(3), "sizes": np.array([50, 60]), "alphas": 2})
    assert (found.repeats, found.sizes, found.alphas) == (3, (50, 60), (2.0,))


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("layers", "last, embedding", ("last", "embedding")),
        ("irreps", "0e,all", ("0e", "all")),
        ("elements", "H,C,O", ("H", "C", "O")),
        ("sizes", "50,100", (50, 100)),
        ("alphas", "0.1,10", (0.1, 10.0)),
        ("alphas", "loo", "loo"),
        ("features", "a,b.npz", ("a,b.npz",)),  # names of files may hold commas
        ("targets", "gap,mu", "gap,mu"),  # which may be a table: the sweep tells
    ],
)
def test_a_text_with_commas_is_the_list_that_the_command_line_takes(name, text, value):
    found = getattr(checked(Config, {name: text}), name)
    assert found == value
    printed = call("sweep", f"--{name}", text, "--print-config")[1]
    assert getattr(checked(Config, tomllib.loads(printed)), name) == value


def test_every_setting_that_is_a_list_takes_a_text_with_commas():
    for model in (Config, SpaceConfig):
        for name, field in fields_of(model).items():
            if "tuple[" in str(field.annotation) and name not in ("features", "targets"):
                one, two = [getattr(checked(model, {name: v}), name) for v in (["2", "3"], "2,3")]
                assert one == two, name


def test_names_outside_of_settings_are_separated_by_commas_too(tmp_path):
    two = {"mine": {"a": np.ones((4, 2)), "b": np.ones((4, 2)), "c": np.ones((4, 2))}}
    assert list(collect(two, None, layers="a, c")[0]) == ["a", "c"]
    assert [subject.name for subject in subjects("coulomb-spectrum,ani-2x-aev")] == [
        "coulomb-spectrum",
        "ani-2x-aev",
    ]
    with pytest.raises(InputError) as caught:
        cpdjax.sweep("coulomb-spectrum,ani-2x-aev", dataset="qm9", n=50)
    one_line(caught, "give several as a list, ['coulomb-spectrum', 'ani-2x-aev']")
    x = np.ones((9, 1))
    for call_of, words in (
        (lambda: cpdjax.learning_curve(x, x, x, sizes="4,9"), "such as [50, 100], got '4,9'"),
        (lambda: cpdjax.cpd(x, x, x, alphas="1,2"), "such as [0.1, 1], got '1,2'"),
        (lambda: cpdjax.datasets.conformers(2, temperatures="1,2"), "such as [300, 600], got"),
    ):
        with pytest.raises(InputError) as caught:
            call_of()
        one_line(caught, words)


VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8),
        st.sampled_from(["loo", "mean", "formula", "0e", "gap", "E.gap", "a.csv", "float32"]),
        st.dates(), st.datetimes(),
    ),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=5,
)  # fmt: skip
NAMES = st.sampled_from(sorted(fields_of(Config))) | st.text(max_size=6)


def made_or_said(values):
    """The settings, or the message that refuses them."""
    try:
        return checked(Config, values)
    except InputError as error:
        return str(error)


@pytest.mark.slow
@settings(max_examples=2000, deadline=None)
@given(st.dictionaries(NAMES, VALUES, max_size=3))
def test_any_settings_are_taken_or_refused_in_one_line(values):
    found = made_or_said(values)
    if isinstance(found, str):
        assert found.isprintable()
        return
    assert 1 <= found.repeats <= 10**6
    assert found.alphas == "loo" or all(0 <= a < np.inf for a in found.alphas)
    assert found.record


def toml(value):
    """A value as TOML, as far as it has a form there."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{toml(str(k))} = {toml(v)}" for k, v in value.items()) + "}"
    if isinstance(value, str):
        return '"' + "".join(f"\\U{ord(c):08X}" for c in value) + '"'
    return "''" if value is None else str(value)


@pytest.mark.slow
@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.dictionaries(st.sampled_from(sorted(fields_of(Config))), VALUES, max_size=3))
def test_any_file_of_settings_ends_in_one_line_at_most(tmp_path, monkeypatch, values):
    class Reached(InputError):
        pass

    def sweep(*_, **__):
        raise Reached("reached")

    monkeypatch.setattr(commands.cpdjax, "sweep", sweep)
    text = "".join(f"{name} = {toml(value)}\n" for name, value in values.items())
    (tmp_path / "x.toml").write_text(text, encoding="utf-8")
    status, printed, errors = call("sweep", tmp_path / "x.toml")
    [line] = errors.splitlines()
    assert (status, printed) == (2, ""), errors
    assert line.isprintable()


@pytest.mark.parametrize(
    "command", ["sweep", "check", "recommend", "reproduce", "ladder", "extract"]
)
@pytest.mark.parametrize("option", ["--seed", "--n"])
@pytest.mark.parametrize("value", ["-1", "9" * 400, "nan"])
def test_every_command_refuses_numbers_out_of_bounds(command, option, value, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    own = {"ladder": ["ani-2x-aev"], "extract": ["ani-2x-aev", "qm9", "--out", "x.zarr"]}
    status, printed, errors = call(command, *own.get(command, []), option, value)
    assert (status, printed) == (2, ""), errors
    assert len(errors.splitlines()) == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "1e300", "five", ""])
def test_penalties_of_commands_have_bounds(value):
    for command in (["check"], ["ladder", "ani-2x-aev"]):
        status, _, errors = call(*command, "--alpha", value)
        assert status == 2
        assert "--alpha must be a number from 0 to 1e+30" in errors
