"""Nequix beside its goldens: its files, as its own program wrote one; what is refused."""

import io
import json
import tracemalloc

import jax
import numpy as np
import pytest
from e3nn_jax import Irreps
from examples import load
from helpers import GOLDENS, call
from jax.tree_util import tree_map_with_path
from scipy.special import erfinv

from cpdjax import models
from cpdjax.errors import FileError, InputError, UnknownNameError
from cpdjax.models.architectures import nequix
from cpdjax.models.cards import card_of
from cpdjax.models.weights import equinox_files

TINY = GOLDENS / "nequix_tiny.nqx"


def parts():
    """The first line of the small file, and its arrays."""
    return equinox_files.read(TINY)


def written(path, config, arrays, end=b""):
    """A file of these, written by NumPy."""
    with path.open("wb") as stream:
        stream.write(json.dumps(config).encode() + b"\n")
        for array in arrays:
            np.save(stream, array)
        stream.write(end)
    return path


def test_a_file_gives_the_model_that_was_written(tmp_path):
    """The reference wrote it in float32; the golden holds the same weights in float64."""
    status, printed, errors = call("models", "convert", TINY, "--out", tmp_path / "tiny")
    assert status == 0, errors
    assert "interaction_0  6x0e+4x1o+3x2e" in printed
    _, expected, _ = load("nequix")
    found = models.load(tmp_path / "tiny")
    assert (found.name, found.target, found.unit) == ("tiny", "energy", "eV")
    assert (found.elements, found.cutoff, found.periodic) == ((1, 6, 7, 8, 9), 4.0, True)

    def same(path, ours, theirs):
        exact = path[-1].key in ("average_neighbours", "scale", "shift")
        np.testing.assert_array_equal(ours, theirs if exact else np.float32(theirs))

    tree_map_with_path(same, found.variables, expected.variables)


@pytest.mark.slow
def test_the_energies_of_a_converted_file(tmp_path):
    golden, _, structures = load("nequix")
    energies = models.convert(TINY, tmp_path / "tiny").predict(structures)
    assert energies.attrs["units"] == "eV"
    np.testing.assert_allclose(energies, golden["output"], rtol=1e-5)


def test_the_card_of_an_unknown_file_claims_nothing(tmp_path):
    models.convert(TINY, tmp_path / "tiny")
    card = card_of(tmp_path / "tiny")
    assert (card.family, card.licence, card.data) == ("Nequix", "unknown", "unknown")


def test_a_newline_and_numbers_may_follow_the_arrays(tmp_path):
    """A published file ends with a newline, and another with numbers of its hyperparameters."""
    config, arrays = parts()
    more = [*arrays, np.float64(-1.1), np.int64(3), np.bool_(True)]
    expected = models.convert(TINY, tmp_path / "first")
    for case, (held, end) in enumerate([(arrays, b"\n"), (more, b"")]):
        path = written(tmp_path / "other.nqx", config, held, end)
        found = models.convert(path, tmp_path / f"out{case}")
        jax.tree.map(np.testing.assert_array_equal, found.variables, expected.variables)


def header(shape, descr="<f4", claims="False"):
    """A header of NumPy's format with no data behind it."""
    text = f"{{'descr': {descr!r}, 'fortran_order': {claims}, 'shape': {shape}, }}"
    text = text + " " * (-(len(text) + 11) % 64) + "\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text.encode()


def objects():
    """An array of objects, which is a pickle."""
    stream = io.BytesIO()
    np.save(stream, np.array([{"a": 1}], object), allow_pickle=True)
    return stream.getvalue()


HOSTILE = {
    "a huge shape": (header((10**9, 10**9)), "its shape is"),
    "many of few": (header((300, 300)), "it claims 360,000 bytes"),
    "more than is left": (header((100,)), "claims 400 bytes, of which the file has 0"),
    "a negative axis": (header((-1, -1)), "its shape is"),
    "nothing of a huge shape": (header((0, 10**30)), "its shape is"),
    "many axes": (header((1,) * 40), "its shape is"),
    "objects": (objects(), "it holds object"),
    "texts": (header((1,), "<U4") + bytes(16), "it holds <U4"),
    "records": (header((1,), "f4,f4") + bytes(8), "it holds"),
    "complex numbers": (header((1,), "<c8") + bytes(8), "it holds complex64"),
    "another version": (b"\x93NUMPY\x09\x00" + bytes(100), "array 3"),
    "no array": (b"\x00" * 100, "array 3"),
    "two newlines": (b"\n\n", "array 3"),
    "a half header": (header((2,))[:40], "array 3"),
    "a header that is a program": (header("__import__('os').getpid()"), "array 3"),
    "a header nested deeply": (header("(" * 3000), "array 3"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_bytes_that_claim_much_are_refused_at_once(case, tmp_path):
    content, match = HOSTILE[case]
    path = written(tmp_path / "a.nqx", {}, [np.ones(3), np.ones((2, 2))], content)
    tracemalloc.start()
    with pytest.raises(FileError, match=match) as caught:
        equinox_files.read(path)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert most < 20e6


@pytest.mark.parametrize(
    "line", [b"{", b'{"a": ', b"[1]\n", b"\xff\n", b"[" * 10**5 + b"\n", b"{" + b" " * 10**6]
)
def test_a_first_line_that_is_no_json_is_refused(line, tmp_path):
    path = tmp_path / "a.nqx"
    path.write_bytes(line)
    with pytest.raises(FileError, match="its first line") as caught:
        equinox_files.read(path)
    assert "\n" not in str(caught.value)


def test_a_file_cut_anywhere_is_refused(tmp_path):
    whole = TINY.read_bytes()
    status, _, errors = call("models", "convert", tmp_path / "none.nqx", "--out", tmp_path / "out")
    assert (status, "cannot read" in errors) == (2, True)
    for length in (0, 10, whole.index(b"\n"), len(whole) // 3, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.nqx").write_bytes(whole[:length])
        status, _, errors = call("models", "convert", tmp_path / "cut.nqx", "--out",
                                 tmp_path / "out")  # fmt: skip
        assert (status, errors.count("\n")) == (2, 1)
        assert not (tmp_path / "out").exists()


def test_arrays_of_another_model_are_refused(tmp_path):
    config, arrays = parts()
    shapes = [array.shape for array in arrays]
    place = shapes.index((6, 13))  # a linear map: turned around it has as many numbers
    turned = [*arrays[:place], arrays[place].T, *arrays[place + 1 :]]
    cases = {
        r"expected 37 arrays, got 36: it is cut short": arrays[:-1],
        r"reads the array of shape \(2,\) at the file's end": [*arrays, np.ones(2)],
        r"expected shape \(6, 13\), got \(13, 6\)": turned,
        "put together of two models": [arrays[0] + 1, *arrays[1:]],
    }
    for match, held in cases.items():
        with pytest.raises(FileError, match=match) as caught:
            models.convert(written(tmp_path / "a.nqx", config, held), tmp_path / "out")
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("option", "match", "error"),
    [
        ({"index_weights": True}, "index_weights=true is not ported", InputError),
        ({"hidden_irreps": "6x0e + 4x1e"}, "of parity", InputError),
        ({"hidden_irreps": "4x1o + 6x0e"}, "expected 0e first", InputError),
        ({"hidden_irreps": "6x0e + 4x3o"}, "up to lmax = 2", InputError),
        ({"hidden_irreps": "6x0e + 0x1o"}, "with channels", InputError),
        ({"hidden_irreps": "six"}, "hidden_irreps", InputError),
        ({"atomic_numbers": [6, 1, 7, 8, 9]}, "ascending", InputError),
        ({"atomic_numbers": "all"}, "atomic_numbers", InputError),
        ({"atomic_numbers": []}, "each once", InputError),
        ({"n_layers": 0}, "interactions", InputError),
        ({"n_layers": 10**9}, "out of the bounds", InputError),
        ({"radial_polynomial_p": 6.5}, "cutoff_power", InputError),
        ({"avg_n_neighbors": 0}, "avg_n_neighbors: expected more than 0", InputError),
        ({"scale": None}, "scale", InputError),
        ({"cutoff": "far"}, "cutoff", InputError),
        ({"layer_norm": "yes"}, "norm", InputError),
        ({"hidden_irrep": "6x0e"}, "did you mean hidden_irreps", UnknownNameError),
        ({"atom_energies": {"1": 0}}, "of two models", InputError),
        ({"atom_energies": None}, "of two models", InputError),
    ],
)
def test_options_that_are_not_ported_are_refused(option, match, error):
    config, arrays = parts()
    state = nequix.state_dict(config, arrays)
    with pytest.raises(error, match=match) as caught:
        models.from_state_dict("nequix", config | option, state)
    assert "\n" not in str(caught.value)


def test_every_option_that_changes_numbers_must_be_given():
    config, arrays = parts()
    state = nequix.state_dict(config, arrays)
    for name in ("avg_n_neighbors", "scale", "shift", "cutoff", "radial_polynomial_p"):
        less = {key: value for key, value in config.items() if key != name}
        with pytest.raises(InputError, match=f"the config lacks '{name}'"):
            models.from_state_dict("nequix", less, state)


def test_the_constant_of_the_activation_is_that_of_a_million_quantiles():
    z = np.sqrt(2) * erfinv(np.linspace(-1, 1, 1_000_003)[1:-1])
    moment = np.sqrt(np.mean((z / (1 + np.exp(-z))) ** 2))
    np.testing.assert_allclose(nequix._MOMENT, moment, rtol=1e-14)


def test_the_published_sizes_are_the_defaults():
    """Layers of the published files, which hold 89 elements, and about what they need."""
    module = nequix.Nequix(elements=tuple(range(1, 90)))
    hidden = Irreps("128x0e + 64x1o + 32x2e + 32x3o")
    assert dict(module.irreps) == {
        "embedding": Irreps("89x0e"),
        "interaction_0": hidden,
        "interaction_1": hidden,
        "interaction_2": hidden,
        "interaction_3": Irreps("128x0e"),
        "readout": Irreps("1x0e"),
    }
    assert module.parity
    assert module.memory(20, 19) == 2 * module.memory(10, 19) > 20 * 19 * 2 * 1312
