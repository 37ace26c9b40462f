"""MACE beyond the goldens: its polynomials, files of mace-torch, models in folders, bad input."""

import contextlib
import io
import json
import lzma
import os
import pickle
import sys
import zipfile

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from ase.build import molecule
from ase.io import write
from helpers import GOLDENS

import cpdjax
from cpdjax import Structures, models
from cpdjax.cli import app
from cpdjax.errors import FileError, InputError, UnknownNameError
from cpdjax.features.extraction import padded
from cpdjax.models.architectures import mace
from cpdjax.models.blocks import symmetric_contraction as symmetric
from cpdjax.models.blocks.convolution import ElementGroups
from cpdjax.models.weights import mace_files
from cpdjax.models.weights import translate as weights

CONFIG = {
    "r_max": 4.0,
    "num_bessel": 4,
    "num_polynomial_cutoff": 5,
    "max_ell": 1,
    "interaction_cls": "RealAgnosticResidualInteractionBlock",
    "interaction_cls_first": "RealAgnosticInteractionBlock",
    "num_interactions": 2,
    "hidden_irreps": "4x0e + 4x1o",
    "MLP_irreps": "3x0e",
    "avg_num_neighbors": 3.0,
    "atomic_numbers": [1, 6],
    "correlation": 2,
    "gate": "silu",
}


def call(*arguments):
    """Exit status, standard output, standard error of the command."""
    out, err = io.StringIO(), io.StringIO()
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        patch.setattr(sys, "argv", ["cpdjax", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            app.main()
    return stopped.value.code, out.getvalue(), err.getvalue()


# -- polynomials ---------------------------------------------------------------------------------


def path_tensor(lmax, degree, l_out):
    """A coupling tensor as the reference has it: neither symmetric nor independent columns."""
    width, columns = (lmax + 1) ** 2, []
    for degrees in np.ndindex(*(lmax + 1,) * degree):
        if (sum(degrees) + l_out) % 2:
            continue
        place = tuple(slice(k**2, (k + 1) ** 2) for k in degrees)
        for tensor in symmetric._couplings(degrees, l_out):
            full = np.zeros((2 * l_out + 1,) + (width,) * degree)
            full[(slice(None), *place)] = tensor
            columns.append(full)
    tensor = np.stack(columns, axis=-1)
    return tensor[0] if l_out == 0 else tensor


@pytest.mark.parametrize(("lmax", "degree"), [(3, 1), (3, 2), (3, 3), (1, 4)])
@pytest.mark.parametrize("l_out", [0, 1, 2])
def test_polynomials_span_every_coupling(lmax, degree, l_out):
    """Weights of any coupling tensor's columns, in our basis, give the same polynomial."""
    if not symmetric.groups(lmax, degree, l_out):
        pytest.skip("no such polynomials")
    rng = np.random.default_rng(0)
    tensor = path_tensor(lmax, degree, l_out)
    paths, width = tensor.shape[-1], (lmax + 1) ** 2
    given = rng.normal(size=(2, paths, 3))
    ours = symmetric.from_coupling(tensor, given, lmax=lmax, degree=degree, l_out=l_out)
    assert ours.shape[1] <= paths
    x = rng.normal(size=width)
    expected = np.einsum("epc,...p->ec...", given, tensor)
    expected = expected.reshape(2, 3, 2 * l_out + 1, *(width,) * degree)
    for _ in range(degree):
        expected = expected @ x
    found = symmetric.polynomials(lmax, degree, l_out)
    values = np.array(
        [[sum(c * x[list(k)].prod() for c, k in terms) for terms in one] for one in found]
    )
    np.testing.assert_allclose(np.einsum("eqc,qm->ecm", ours, values), expected, atol=1e-10)


def test_a_tensor_that_is_not_equivariant_is_refused():
    rng = np.random.default_rng(0)
    tensor = rng.normal(size=(4, 4, 2))
    with pytest.raises(InputError, match="no tensor of equivariant polynomials"):
        symmetric.from_coupling(tensor, np.ones((1, 2, 3)), lmax=1, degree=2, l_out=0)
    with pytest.raises(InputError, match="not that of max_ell 2"):
        symmetric.from_coupling(tensor, np.ones((1, 2, 3)), lmax=2, degree=2, l_out=0)


def test_the_golden_of_the_other_e3nn_has_other_signs():
    old, new = (np.load(GOLDENS / f"{name}.npz") for name in ("mace", "mace_e3nn_06"))
    tensors = [name for name in old.files if "U_matrix_3" in name]
    assert max(np.abs(old[name] - new[name]).max() for name in tensors) > 0.1


@pytest.mark.slow
def test_maps_of_each_element_in_groups():
    rng = np.random.default_rng(0)
    for atoms, elements in ((3, 5), (100, 4), (64, 90)):
        species = rng.integers(0, min(elements, 7), atoms)
        x, matrices = rng.normal(size=(atoms, 3, 4)), rng.normal(size=(elements, 4, 2))
        groups = ElementGroups.of(jnp.asarray(species), elements)
        expected = np.einsum("nmi,nio->nmo", x, matrices[species])
        np.testing.assert_allclose(groups.multiply(jnp.asarray(x), jnp.asarray(matrices)), expected)


@pytest.fixture(scope="module")
def random_model():
    module = mace._module(mace._checked(CONFIG))
    return models.Encoder(
        "mine", module, jax.jit(module.init)(jax.random.key(0), weights.example())
    )


@pytest.mark.slow
def test_a_model_of_random_weights_has_gradients(random_model):
    structures = Structures.from_atoms([molecule("CH4"), molecule("C2H2")])
    batch = padded(random_model, structures, np.arange(2), 5)

    def loss(encoder):
        return (encoder.output(batch) ** 2).sum()

    gradients = jax.tree.leaves(jax.jit(jax.grad(loss))(random_model).variables["params"])
    assert all(np.isfinite(gradient).all() for gradient in gradients)
    assert all((gradient != 0).any() for gradient in gradients)


# -- state dicts ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"radial_type": "chebyshev"}, "radial_type = 'chebyshev' is not supported"),
        ({"distance_transform": "Soft"}, "distance_transform"),
        ({"use_so3": True}, "use_so3"),
        ({"edge_irreps": "64x0e"}, "edge_irreps"),
        ({"embedding_specs": {"charge": {}}}, "embedding_specs"),
        ({"interaction_cls": "RealAgnosticAttResidualInteractionBlock"}, "interaction_cls"),
        ({"readout_cls": "NonLinearBiasReadoutBlock"}, "readout_cls"),
        ({"hidden_irreps": "4x0e + 4x1e"}, "hidden_irreps '4x0e . 4x1e' are not supported"),
        ({"hidden_irreps": "4x0e + 2x1o"}, "equally many channels"),
        ({"hidden_irreps": "abc"}, "'abc' are no irreps"),
        ({"MLP_irreps": "3x0e + 3x1o"}, "MLP_irreps"),
        ({"num_interactions": 1, "use_last_readout_only": True}, "has no readout"),
        ({"width": 3}, "unknown option of MACE 'width'"),
        ({"heads": ["a", "b"]}, "has the heads a, b: choose one"),
        ({"heads": ["a", "b"], "head": "c"}, "has no head 'c'"),
        ({}, "lacks 'products.0.symmetric_contractions.contractions.0.U_matrix_1'"),
    ],
)
def test_options_that_are_not_supported(change, match):
    with pytest.raises(InputError, match=match) as caught:
        models.from_state_dict("mace", CONFIG | change, {})
    assert "\n" not in str(caught.value)


def test_a_configuration_and_a_state_dict_that_disagree():
    with pytest.raises(InputError, match=r"r_max is 4\.0 in the configuration, but 5\.0"):
        models.from_state_dict("mace", CONFIG, {"r_max": np.array(5.0)})
    with pytest.raises(InputError, match="lacks 'gate'"):
        models.from_state_dict("mace", {k: v for k, v in CONFIG.items() if k != "gate"}, {})


# -- files of mace-torch -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A file that mace-torch wrote."""
    path = tmp_path_factory.mktemp("mace") / "tiny.model"
    path.write_bytes(lzma.decompress((GOLDENS / "mace_tiny.model.xz").read_bytes()))
    return path


@pytest.fixture(scope="module")
def folder(file):
    """The folder that the command line makes of it."""
    out = file.with_name("mine")
    status, printed, errors = call("models", "convert", file, "--out", out, "--head", "second")
    assert status == 0, errors
    assert "interaction_0  4x0e+4x1o" in printed
    return out


def test_a_converted_file_equals_the_reference(folder):
    golden = np.load(GOLDENS / "mace_tiny.npz")
    structures = Structures("tiny", *(golden[k] for k in ("numbers", "positions", "offsets")))
    encoder = models.load(folder)
    assert encoder.name == "mine"
    batch = padded(encoder, structures, np.arange(len(structures)), int(structures.sizes.max()))
    layers = encoder.features(batch)
    found = np.concatenate([layers[f"interaction_{i}"].array for i in range(2)], axis=-1)
    expected = golden["node_feats"]
    error = np.abs(found[np.asarray(batch.mask)] - expected).max(0)
    assert (error <= 1e-10 * np.abs(expected).max(0)).all()
    np.testing.assert_allclose(encoder.output(batch), golden["energy"], rtol=1e-10)


@pytest.mark.slow
def test_a_converted_model_is_taken_like_a_name(folder, tmp_path):
    frames = [molecule(name) for name in ("CH4", "H2O", "CO2", "CH3OH", "C2H2", "CH3CHO") * 3]
    write(tmp_path / "a.xyz", frames)
    structures = Structures.from_atoms(frames)
    by_path = cpdjax.extract(str(folder), structures, layers=["readout"])
    by_model = cpdjax.extract(models.load(folder), structures, layers=["readout"])
    np.testing.assert_array_equal(by_path["readout"].array, by_model["readout"].array)
    status, _, errors = call("extract", folder, tmp_path / "a.xyz", "--out", tmp_path / "a.zarr")
    assert status == 0, errors
    assert (tmp_path / "a.zarr").is_dir()


def test_what_is_wrong_with_a_file_is_one_line(file, tmp_path):
    def refused(path, *more):
        status, _, errors = call("models", "convert", path, "--out", tmp_path / "out", *more)
        assert status == 2
        assert errors.count("\n") == 1
        assert not (tmp_path / "out").exists()
        return errors

    assert "choose one with" in refused(file)
    assert "no head 'third'" in refused(file, "--head", "third")
    assert "cannot read" in refused(tmp_path / "none.model")
    (tmp_path / "note.model").write_text("no model")
    assert "no file of torch.save" in refused(tmp_path / "note.model")
    with zipfile.ZipFile(tmp_path / "state.model", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"a": 1}, 2))
    assert "not a MACE or ScaleShiftMACE" in refused(tmp_path / "state.model")
    (tmp_path / "taken").mkdir()
    status, _, errors = call("models", "convert", file, "--out", tmp_path / "taken",
                             "--head", "first")  # fmt: skip
    assert (status, "is no saved model" in errors) == (2, True)


def test_records_that_are_not_those_of_mace(tmp_path, monkeypatch):
    """A number that is infinite, a module that is its own child: still one line."""
    kind = mace_files._KINDS[0]
    for error in (OverflowError("infinity"), RecursionError("too deep"), KeyError("hs")):

        def config_of(model, error=error):
            raise error

        monkeypatch.setattr(mace_files, "config_of", config_of)
        module, _, name = kind.rpartition(".")
        with zipfile.ZipFile(tmp_path / "other.model", "w") as archive:
            archive.writestr("a/data.pkl", f"\x80\x02c{module}\n{name}\n)\x81.".encode("latin1"))
        with pytest.raises(FileError, match="of a version of mace-torch that is not read"):
            mace_files.read(tmp_path / "other.model")


class Call:
    """Pickles as a call of `function`."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


def test_a_file_that_tries_to_run_code_is_refused_and_does_not_run(tmp_path):
    witness = tmp_path / "witness"
    calls = [
        Call(os.system, f"touch {witness}"),
        Call(eval, f"open({str(witness)!r}, 'w')"),
        Call(open, str(witness), "w"),
    ]
    for call_ in calls:
        path = tmp_path / "evil.model"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("archive/data.pkl", pickle.dumps({"model": call_}, 2))
        with pytest.raises(FileError, match="neither a tensor nor a plain container"):
            models.convert(path, tmp_path / "out")
    assert not witness.exists()


def test_getattr_gives_names_of_inert_classes_only(tmp_path):
    """Pickle writes torch.tanh as getattr(class, "tanh"); nothing is looked up."""
    payload = {
        "name": b"\x80\x02cbuiltins\ngetattr\nctorch._C\n_VariableFunctionsClass\n"
        b"X\x04\x00\x00\x00tanh\x86R.",
        "class": b"\x80\x02cbuiltins\ngetattr\nccollections\nOrderedDict\n"
        b"X\x06\x00\x00\x00update\x86R.",
        "object": b"\x80\x02cbuiltins\ngetattr\n}X\x06\x00\x00\x00update\x86R.",
    }
    for name, content in payload.items():
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            archive.writestr("archive/data.pkl", content)
    assert mace_files.torch_files.read(tmp_path / "name", ("torch",)) == "tanh"
    for name in ("class", "object"):
        with pytest.raises(FileError, match="getattr, which is neither"):
            mace_files.torch_files.read(tmp_path / name, ("torch",))


# -- models in folders ---------------------------------------------------------------------------


def test_a_saved_model_is_what_it_was(random_model, tmp_path):
    models.save(tmp_path / "a", random_model)
    models.save(tmp_path / "a", random_model)  # over an older one
    again = models.load(tmp_path / "a")
    assert again.architecture == random_model.architecture
    assert again.name == "mine"
    before, after = (jax.tree.leaves_with_path(e.variables) for e in (random_model, again))
    for (path, leaf), (other_path, other) in zip(before, after, strict=True):
        assert path == other_path
        np.testing.assert_array_equal(leaf, other)
        assert leaf.dtype == other.dtype


def test_damaged_folders_are_one_line(folder, tmp_path):
    record = json.loads((folder / "model.json").read_text())
    arrays = (folder / "weights.npz").read_bytes()
    cases = [
        (record, arrays[:-10], "not the file that was saved"),
        (record, None, "cannot read"),
        ({**record, "format": 99}, arrays, "newer than this"),
        ({**record, "module": "os.system"}, arrays, "is not known"),
        ({**record, "fields": {**record["fields"], "lmax": 1}}, arrays, "not those of"),
        ({**record, "module": "cpdjax.models.architectures.mace:MACE"}, arrays, "is not known"),
        ({**record, "module": "aev"}, arrays, "is not known"),
        ({**record, "module": ["mace"]}, arrays, "is not known"),
        ({**record, "format": 1, "module": "cpdjax.models.mace.partial"}, arrays, "is not known"),
        ({**record, "format": 1, "module": "mace"}, arrays, "is not known"),
        ({**record, "fields": {**record["fields"], "lmax": "one"}}, arrays, "damaged"),
        ({**record, "fields": {**record["fields"], "depth": 1}}, arrays, "damaged"),
        ({**record, "fields": {}}, arrays, "damaged"),
        ({**record, "fields": None}, arrays, "damaged"),
        ({k: v for k, v in record.items() if k != "aggregate"}, arrays, "damaged"),
        ({}, arrays, "damaged"),
    ]
    for number, (content, stored, match) in enumerate(cases):
        path = tmp_path / str(number)
        path.mkdir()
        (path / "model.json").write_text(json.dumps(content))
        if stored is not None:
            (path / "weights.npz").write_bytes(stored)
        with pytest.raises(FileError, match=match) as caught:
            models.load(path)
        assert "\n" not in str(caught.value)


def test_paths_that_are_no_models(file, tmp_path):
    with pytest.raises(InputError, match=r"cpdjax models convert .*tiny.model"):
        models.load(file)
    with pytest.raises(UnknownNameError, match="unknown model"):
        models.load(tmp_path)
