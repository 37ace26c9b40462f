"""Functions and objects of one's own as models: what they give, lack, and when they change."""

from itertools import pairwise

import ase.io
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import molecule
from helpers import Toy, call, one_line

import cpdjax
from cpdjax import InputError, Structures, UnknownNameError, assert_equivariant, extract, models
from cpdjax.features.sources import collect
from cpdjax.models.objects import is_place

DS = Structures.from_atoms([molecule(name) for name in ("H2O", "CH4", "NH3", "CO2")])
CUTOFF = 1.5


def vectors(graph):
    """The number of each atom's neighbours, and the sum of the vectors to them."""
    edges = jnp.asarray(graph.edge_mask, graph.dtype)
    count = edges.sum(1)[:, None]
    summed = (graph.vectors * edges[:, :, None]).sum(1)
    return {"count": count, "both": jnp.concatenate([count, summed], axis=1)}


def expected():
    """The same by a loop over pairs of atoms."""
    rows = []
    for start, stop in pairwise(DS.offsets):
        x = DS.positions[start:stop]
        between = x[None] - x[:, None]
        r = np.sqrt((between**2).sum(2))
        near = (r < CUTOFF) & (r > 0)
        atoms = np.concatenate([near.sum(1)[:, None], (between * near[:, :, None]).sum(1)], axis=1)
        rows.append(atoms.mean(0))
    return np.stack(rows)


def wrapped(**options):
    irreps = {"count": "0e", "both": "1x0e + 1x1o"}
    return models.wrap(vectors, **{"irreps": irreps, "cutoff": CUTOFF, **options})


def test_a_function_is_a_model():
    model = wrapped()
    assert (model.name, model.elements, model.periodic, model.parity) == (
        *("vectors", None),
        *(False, True),
    )
    found = extract(model, DS)
    assert list(found) == ["count", "both"]
    np.testing.assert_allclose(found["both"].array, expected(), atol=1e-12)
    assert_equivariant(model, DS)
    [swept] = collect({"mine": model}, DS, layers=["count"])
    np.testing.assert_allclose(swept["count"].array, expected()[:, :1], atol=1e-12)


def test_weights_are_leaves_in_the_precision_of_the_positions():
    def function(weights, graph):
        assert weights["w"].dtype == graph.dtype
        return weights["w"][graph.numbers]

    weights = {"w": np.arange(40, dtype=np.float32).reshape(10, 4)}
    model = models.wrap(
        function, irreps="4x0e", weights=weights, name="mine", elements=[1, 6, 7, 8]
    )
    assert (model.parameters, model.elements) == (40, (1, 6, 7, 8))
    water = extract(model, DS)["features"].array[0]
    np.testing.assert_allclose(water, (weights["w"][[8, 1, 1]]).mean(0))
    assert extract(model, DS, dtype="float32")["features"].array.dtype == np.float32
    with pytest.raises(InputError, match="knows H"):
        extract(models.wrap(function, irreps="4x0e", weights=weights, elements=[1]), DS)


def test_a_function_of_whole_molecules_and_of_positions_alone():
    def size(graph):
        x = graph.positions.reshape(*graph.mask.shape, 3)
        assert graph.neighbours.shape[1] == 0
        return jnp.where(graph.mask[:, :, None], x * x, 0).sum((1, 2))[:, None]

    model = models.wrap(size, irreps="0e", level="molecule")
    found = extract(model, DS)["features"].array[:, 0]
    sums = [(DS.positions[a:b] ** 2).sum() for a, b in pairwise(DS.offsets)]
    np.testing.assert_allclose(found, sums)
    with pytest.raises(InputError, match="predicts nothing"):
        model.predict(DS)


@pytest.mark.parametrize(
    ("function", "options", "words"),
    [
        (vectors, {"irreps": {"count": "0e", "none": "0e"}}, "no layer 'none'"),
        (vectors, {"irreps": "4x0e"}, "no layer 'features'"),
        (vectors, {"irreps": {"both": "2x1o"}}, "(atom, 6) for 2x1o, here (6, 6), got (6, 4)"),
        (vectors, {"irreps": {"both": "four"}}, "expected irreps such as"),
        (vectors, {"irreps": {"both": "4x0e"}, "level": "bond"}, "level must be"),
        ("vectors", {"irreps": "4x0e"}, "expected a function"),
        (lambda graph: graph.distances.sum(1)[:, None], {"irreps": "0e"}, "graph.edge_mask"),
        (
            lambda graph: graph.numbers.reshape(graph.mask.shape).shape[1] + graph.numbers[:, None],
            {"irreps": "0e", "cutoff": None},
            "rows of padding change",
        ),
        (lambda graph: np.asarray(graph.positions), {"irreps": "1o"}, "cannot be traced by JAX"),
    ],
)
def test_what_is_no_model_is_told_at_once(function, options, words):
    with pytest.raises(InputError) as caught:
        models.wrap(function, **{"cutoff": CUTOFF, **options})
    one_line(caught, words)


def test_stores_know_the_function_and_what_it_holds(tmp_path):
    held = np.arange(3.0)

    def function(graph):
        return jnp.asarray(held, graph.dtype)[None] * graph.numbers[:, None].astype(graph.dtype)

    def make():
        return models.wrap(function, irreps="3x0e", name="mine")

    path = tmp_path / "x.zarr"
    model = make()
    cpdjax.extract_to(path, model, DS)
    first = cpdjax.read_features(path)["features"].array
    cpdjax.extract_to(path, make(), DS)  # the same function, and the same numbers
    held = np.arange(3.0) + 1
    for changed in (model, make()):
        with pytest.raises(InputError, match=r"another configuration \(different: program\)"):
            cpdjax.extract_to(path, changed, DS)
    cpdjax.extract_to(tmp_path / "y.zarr", model, DS)  # compiled anew, in the same process
    second = cpdjax.read_features(tmp_path / "y.zarr")["features"].array
    np.testing.assert_allclose(second[:, 1], 2 * first[:, 1])


# What an object lacks


class Lacking(Toy):
    """A toy without one attribute."""

    def __init__(self, name):
        super().__init__()
        self.lost = name

    def __getattribute__(self, name):
        if name == object.__getattribute__(self, "__dict__").get("lost"):
            raise AttributeError(name)
        return object.__getattribute__(self, name)


jax.tree_util.register_static(Lacking)
ATTRIBUTES = ("name", "level", "elements", "periodic", "max_atoms", "irreps", "parity", "cutoff")


@pytest.mark.parametrize("name", [*ATTRIBUTES, "memory", "features"])
def test_a_missing_attribute_is_named_with_its_cure(name):
    for use in (lambda m: extract(m, DS), lambda m: collect([m], DS)):
        with pytest.raises(InputError) as caught:
            use(Lacking(name))
        one_line(caught, f"has no {name}: add `", name)


def test_attributes_of_another_kind_are_refused():
    texts, level = Toy(irreps={"number": "1x0e"}), Toy(level="atoms")
    for model, words in ((texts, "e3nn_jax.Irreps('1x0e')"), (level, "got 'atoms'")):
        with pytest.raises(InputError) as caught:
            extract(model, DS)
        one_line(caught, words)

    class NoPytree:
        __init__ = Toy.__init__
        memory, features = Toy.memory, Toy.features

    with pytest.raises(InputError) as caught:
        extract(NoPytree("x", irreps=Toy().irreps), DS)
    one_line(caught, "register_static")

    class Wrong(Toy):
        def features(self, batch):
            return {"number": batch.numbers[:, :, None]}

    jax.tree_util.register_static(Wrong)
    with pytest.raises(InputError) as caught:
        extract(Wrong(), DS)
    one_line(caught, "must return layer 'number' as an e3nn_jax.IrrepsArray of 1x0e")


# Models by where they are

CODE = """
import jax.numpy as jnp
from cpdjax import models
def charge(graph):
    return graph.numbers[:, None]
model = models.wrap(charge, irreps="0e", name="charges")
def make():
    return model
def needs(more):
    return model
class Holder:
    inner = model
number = 3
"""


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("sys.path", [p for p in __import__("sys").path if p])
    (tmp_path / "encoders_of_mine").mkdir()
    (tmp_path / "encoders_of_mine" / "of_water.py").write_text(CODE)
    (tmp_path / "broken_of_mine.py").write_text("raise RuntimeError('no\\nluck')")
    return "encoders_of_mine.of_water"


def test_models_by_module_and_object(here):
    for place in (f"{here}:model", f"{here}:make", f"{here}:Holder.inner"):
        model = models.load(place)
        assert model.name == "charges"
        [found] = collect([place], DS)
        assert found.model == "charges"
        np.testing.assert_allclose(found["features"].array[0], 10 / 3)
        assert extract(place, DS) == extract(model, DS)
    [named] = collect({"mine": f"{here}:make"}, DS)
    assert named.model == "mine"


def test_the_shell_takes_places_as_names(here, tmp_path):
    ase.io.write(tmp_path / "x.extxyz", [DS.atoms(i) for i in range(len(DS))])
    status, _, errors = call("extract", f"{here}:make", "x.extxyz", "--out", "out.zarr")
    assert status == 0, errors
    assert cpdjax.read_features(tmp_path / "out.zarr").model == "charges"
    status, _, errors = call("extract", "none_of_mine:x", "x.extxyz", "--out", "no.zarr")
    assert (status, len(errors.strip().splitlines())) == (2, 1)
    assert "no module 'none_of_mine'" in errors


def test_what_is_no_place_or_no_model(here, tmp_path):
    for place, words in (
        (f"{here}:mode", "did you mean"),
        (f"{here}:needs", "TypeError"),
        (f"{here}:number", "is of type int: expected a model"),
        ("encoders_of_mine.none:x", "no module 'encoders_of_mine.none'"),
        ("broken_of_mine:x", "RuntimeError: no luck"),
    ):
        with pytest.raises(InputError) as caught:
            models.load(place)
        one_line(caught, words)
    with pytest.raises(InputError, match="takes no options"):
        models.load(f"{here}:model", cutoff=3)
    with pytest.raises(UnknownNameError):
        models.load("cpdjax:none")
    (tmp_path / "a:b").write_text("a file")
    places = ("a:b", "cpdjax:so3lr", "x.npz", "./a.b:c", "so3lr", "a:", ":b", "1:2", 3)
    assert not any(map(is_place, places))
