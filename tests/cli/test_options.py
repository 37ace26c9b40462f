"""Options: what the help says of them, how a shell completes them, and settings written down."""

import json
import re
import tomllib
from importlib.metadata import version

import jsonschema
import pytest
from helpers import call
from typer.main import get_command

import cpdjax
from cpdjax.cli import completion
from cpdjax.cli.app import app
from cpdjax.cli.failures import STATUSES
from cpdjax.configuration import as_toml, checked, fields_of, help_texts, read_toml, schema_of
from cpdjax.models.training.recipes import Recipe
from cpdjax.representations.settings import SpaceConfig
from cpdjax.sweeps.settings import Config

COMMANDS = {
    **get_command(app).commands,
    "models convert": get_command(app).commands["models"].commands["convert"],
    "models runs": get_command(app).commands["models"].commands["runs"],
}


def options(command):
    return [p for p in COMMANDS[command].params if p.param_type_name == "option" and not p.hidden]


# Help


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_every_level_has_its_help_under_two_names_and_names_the_statuses(command):
    short, long = (call(*command.split(), option) for option in ("-h", "--help"))
    assert short == long
    status, printed, errors = short
    assert (status, errors) == (0, "")
    words = " ".join(re.sub(r"[│╭╮╰╯─]", " ", printed).split())
    for status, meaning in STATUSES.items():
        assert f"{status} {meaning}" in words
    assert "--quiet" in words


def test_without_arguments_there_is_help_with_commands_under_headings():
    status, printed, _ = call()
    assert status == 0
    for heading in ("Scores", "Likeness", "Findings", "Models and features", "Files"):
        assert f"─ {heading} ─" in printed


def test_the_version():
    assert call("--version") == (0, f"cpdjax {version('cpdjax')}\n", "")
    assert cpdjax.__version__ == version("cpdjax")
    with pytest.raises(AttributeError):
        getattr(cpdjax, "__no_such_name__")  # noqa: B009


@pytest.mark.parametrize(
    "command", ["sweep", "spaces", "check", "ladder", "extract", "train", "reproduce"]
)
def test_every_option_that_takes_a_value_says_its_default(command):
    by_default = re.compile(r"[Bb]y default|\[default: ")
    given = {"models", "features", "coordinator", "processes", "process", "verbose"}
    needed = {"out"} if command == "extract" else {"model", "target"} if command == "train" else ()
    for option in options(command):
        if option.is_flag or option.name in {*given, *needed}:
            continue
        shown = option.show_default and option.default is not None
        assert shown or by_default.search(option.help), option.name


def test_the_defaults_in_the_help_of_train_are_those_of_a_recipe():
    for name in ("train", "validation", "held_out", "epochs", "batch_size", "seed"):
        [option] = [option for option in options("train") if option.name == name]
        assert option.help.endswith(f"by default {Recipe.model_fields[name].default:,}.")


@pytest.mark.parametrize(("command", "config"), [("sweep", Config), ("spaces", SpaceConfig)])
def test_the_defaults_in_the_help_are_those_of_the_settings(command, config):
    known = fields_of(config)
    for option in options(command):
        default = known[option.name].default if option.name in known else None
        if type(default) in (int, float, str):
            assert f"[default: {default}]" in option.help


@pytest.mark.parametrize("command", ["sweep", "spaces", "extract", "train", "check", "recommend"])
def test_options_of_long_commands_stand_under_headings(command):
    headings = {option.rich_help_panel for option in options(command) if option.name != "help"}
    assert {"Data", "Output", "Messages"} <= headings
    printed = call(command, "-h")[1]
    assert all(f"─ {name} ─" in printed for name in ("Data", "Output", "Messages"))


# Completion


def completed(command, name, incomplete):
    [option] = [p for p in COMMANDS[command].params if p.name == name]
    found = option.shell_complete(None, incomplete)
    return [item.value for item in found]


def test_a_shell_completes_models_targets_and_choices():
    assert completed("sweep", "models", "so3lr,visnet") == [
        "so3lr,visnet-qm9-energy",
        "so3lr,visnet-qm9-gap",
        "so3lr,visnet-untrained",
    ]
    assert completed("extract", "model", "coul") == ["coulomb-spectrum"]
    assert completed("train", "model", "pai") == ["painn"]
    assert completed("check", "targets", "gap,zp") == ["gap,zpve"]
    assert completed("sweep", "targets", "h") == ["homo", "h298", "h298_atom"]
    assert completed("spaces", "projection", "f") == ["formula"]
    assert completed("sweep", "probe", "atom") == ["atom", "atom-equivariant"]
    assert completion.targets("nothing") == []


def test_a_shell_is_told_how_to_complete(monkeypatch):
    monkeypatch.setenv("_CPDJAX_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", "cpdjax sweep --format ")
    monkeypatch.setenv("COMP_CWORD", "3")
    status, printed, errors = call()
    assert (status, errors) == (0, "")
    assert printed.split() == ["zarr", "netcdf"]


# Settings written down


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"features": ["a,b.npz", 'say "\x7f\\n".npz'], "sizes": [30, 60], "alphas": "loo"},
        {"alphas": [0.1, 1e30], "targets": ["gap", "mu"], "standardize": False, "out": "α/β"},
        {"layers": "last", "permutations": 99, "permute_within": "formula", "format": "netcdf"},
    ],
)
def test_settings_written_down_are_read_as_the_same(given, tmp_path):
    chosen = checked(Config, given)
    path = tmp_path / "settings.toml"
    path.write_text(as_toml(chosen), encoding="utf-8")
    assert checked(Config, read_toml(path)) == chosen
    jsonschema.validate(read_toml(path), schema_of(Config))


def test_a_sweep_prints_the_settings_in_force_and_does_nothing_else(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, printed, errors = call(
        "sweep", "--models", "so3lr", "--sizes", "30,60", "--print-config"
    )
    assert (status, errors) == (0, "")
    values = tomllib.loads(printed)
    assert (values["features"], values["sizes"], values["folds"]) == (["so3lr"], [30, 60], 5)
    comments = " ".join(printed.replace("\n# ", " ").split())
    for text in help_texts(Config).values():
        assert " ".join(text.split()) in comments
    assert not list(tmp_path.iterdir())
    (tmp_path / "x.toml").write_text(printed, encoding="utf-8")
    assert call("sweep", "x.toml", "--print-config") == (0, printed, "")
    assert max(map(len, printed.splitlines())) <= 80


def test_editors_get_a_schema_that_knows_every_setting():
    status, printed, errors = call("sweep", "--print-schema")
    assert (status, errors) == (0, "")
    schema = json.loads(printed)
    jsonschema.Draft7Validator.check_schema(schema)
    assert set(schema["properties"]) == set(fields_of(Config))
    for name, text in help_texts(Config).items():
        assert schema["properties"][name]["description"] == text
    for right in ({"sizes": 100}, {"layers": "last"}, {"alphas": [1, 2.5]}, {"n": 2000}):
        jsonschema.validate(right, schema)
    for wrong in ({"size": [3]}, {"probe": "rigde"}, {"sizes": []}, {"folds": 1}, {"alphas": -1}):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(wrong, schema)
