"""MEGNet beside its goldens: its definitions in NumPy, Keras files, the archive, refusals."""

import io
import json
import tarfile

import h5py
import numpy as np
import pytest
from ase.build import molecule
from examples import common
from helpers import call, one_line

from cpdjax import Structures, models
from cpdjax.errors import FileError, InputError
from cpdjax.features.extraction import padded
from cpdjax.models.cards import card_of
from cpdjax.models.weights import keras_files, megnet_networks

BLOCKS, PASSES, CENTRES, WIDTH = 2, 2, 6, 0.5
MAPPING = {"1": 1, "6": 2, "7": 4, "8": 6, "9": 8}
KINDS = ("atom", "bond", "state")
HIDDEN, OUT, LAST, EMBEDDED = 5, 4, 3, 2


def weights():
    """A small network's arrays by the reference's own names, seeded by these."""
    shapes = {"atom_embedding/embeddings": (9, EMBEDDED)}

    def dense(name, fan_in, fan_out):
        shapes.update({f"{name}/kernel": (fan_in, fan_out), f"{name}/bias": (fan_out,)})

    for kind, fan_in in zip(KINDS, (EMBEDDED, CENTRES, 2), strict=True):
        dense(f"preblock_{kind}_0", fan_in, HIDDEN)
        dense(f"preblock_{kind}_1", HIDDEN, OUT)
    for i in range(BLOCKS):
        for kind in KINDS if i else ():
            dense(f"block_{i}_{kind}_ff_0", OUT, HIDDEN)
            dense(f"block_{i}_{kind}_ff_1", HIDDEN, OUT)
        for letter, parts in (("e", 4), ("v", 3), ("u", 3)):
            widths = (parts * OUT, HIDDEN, HIDDEN, OUT)
            for k in range(3):
                shapes[f"megnet_{i}/weight_{letter}_{k}"] = widths[k : k + 2]
                shapes[f"megnet_{i}/bias_{letter}_{k}"] = (widths[k + 1],)
    for kind in KINDS[:2]:
        shapes[f"set2set_{kind}/x_to_m_weight"] = (OUT, LAST)
        shapes[f"set2set_{kind}/x_to_m_bias"] = (LAST,)
        shapes[f"set2set_{kind}/recurrent_kernel"] = (2 * LAST, 4 * LAST)
        shapes[f"set2set_{kind}/recurrent_bias"] = (4 * LAST,)
    dense("readout_0", 4 * LAST + OUT, OUT)
    dense("readout_1", OUT, LAST)
    dense("readout_2", LAST, 1)
    made = common.seeded(shapes, {"*bias*": 0.5, "*/embeddings": 1.0})
    return {name: array.astype(np.float32) for name, array in made.items()}


def softplus(x):
    return np.log1p(np.exp(x)) - np.log(2)


def by_definition(state, frame, scale):
    """Embedding, atoms after each block, last hidden layer and output of one molecule, by loops."""
    state = {name: array.astype(np.float64) for name, array in state.items()}

    def ff(name, x):
        for k in range(2):
            x = softplus(x @ state[f"{name}_{k}/kernel"] + state[f"{name}_{k}/bias"])
        return x

    def phi(i, letter, *parts):
        x = np.concatenate(parts)
        for k in range(3):
            x = x if k == 0 else softplus(x)
            x = (
                x @ state[f"megnet_{i}/weight_{letter}_{k}"]
                + state[f"megnet_{i}/bias_{letter}_{k}"]
            )
        return x

    atoms = range(len(frame))
    edges = [(a, b) for a in atoms for b in atoms if a != b]
    first = state["atom_embedding/embeddings"][[MAPPING[str(n)] for n in frame.numbers]]
    lengths = [np.linalg.norm(frame.positions[a] - frame.positions[b]) for a, b in edges]
    centres = np.linspace(0, 4, CENTRES)
    v = ff("preblock_atom", first)
    e = ff("preblock_bond", np.array([np.exp(-((r - centres) ** 2) / WIDTH**2) for r in lengths]))
    u = ff("preblock_state", np.zeros(2))
    layers = {"embedding": first}
    for i in range(BLOCKS):
        x, y, z = (
            ff(f"block_{i}_{k}_ff", s) if i else s for k, s in zip(KINDS, (v, e, u), strict=True)
        )
        bonds = np.array([phi(i, "e", x[a], x[b], y[k], z) for k, (a, b) in enumerate(edges)])
        means = [np.mean([bonds[k] for k, (a, _) in enumerate(edges) if a == c], 0) for c in atoms]
        nodes = np.array([phi(i, "v", means[a], x[a], z) for a in atoms])
        v, e, u = v + nodes, e + bonds, u + phi(i, "u", bonds.mean(0), nodes.mean(0), z)
        layers[f"interaction_{i}"] = v
    found = [set2set(state, kind, x) for kind, x in (("atom", v), ("bond", e))]
    hidden = ff("readout", np.concatenate([*found, u]))
    output = (hidden @ state["readout_2/kernel"] + state["readout_2/bias"])[0]
    mean, std, intensive = scale
    return layers, hidden, (1 if intensive else len(frame)) * (output * std + mean)


def set2set(state, kind, x):
    """Asked by an LSTM without a memory of its own, with the hard sigmoid of Keras 2."""
    at = f"set2set_{kind}"
    members = x @ state[f"{at}/x_to_m_weight"] + state[f"{at}/x_to_m_bias"]
    found = np.zeros(2 * LAST)
    for _ in range(PASSES):
        gates = found @ state[f"{at}/recurrent_kernel"] + state[f"{at}/recurrent_bias"]
        into, _, new, out = np.split(gates, 4)
        into, out = (np.clip(g / 5 + 0.5, 0, 1) for g in (into, out))
        asked = out * np.tanh(into * np.tanh(new))
        share = np.exp(members @ asked)
        found = np.concatenate([asked, share / share.sum() @ members])
    return found


class Keras:
    """What megnet writes: layers numbered through by Keras, in an order that is not theirs."""

    def __init__(self, state):
        self.state, self.layers, self.names = state, [], {}

    def add(self, kind, ours, reads, **options):
        name = f"{kind.lower()}_{len(self.layers) + 7}"
        self.names[ours] = name
        inbound = [[[self.names[r], 0, 0, {}] for r in reads]] if reads else []
        config = {"name": name, "use_bias": True, **options}
        self.layers.append({"class_name": kind, "config": config, "inbound_nodes": inbound})

    def dense(self, ours, reads):
        for k in range(2):
            self.add("Dense", f"{ours}_{k}", [f"{ours}_0" if k else reads], activation="softplus2")
        return f"{ours}_1"

    def build(self):
        for kind in ("z", "bond", "state"):
            self.add("InputLayer", f"in_{kind}", [])
        self.add("Embedding", "atom_embedding", ["in_z"])
        inputs = ("atom_embedding", "in_bond", "in_state")
        states = [self.dense(f"preblock_{k}", i) for k, i in zip(KINDS, inputs, strict=True)]
        for i in range(BLOCKS):
            reads = states
            if i:
                reads = [
                    self.dense(f"block_{i}_{k}_ff", s) for k, s in zip(KINDS, states, strict=True)
                ]
            self.add("MEGNetLayer", f"megnet_{i}", reads, activation="softplus2",
                     pool_method="mean")  # fmt: skip
            for k, s in zip(KINDS, states, strict=True):
                self.add("Dropout", f"dropout_{i}_{k}", [f"megnet_{i}"])
                self.add("Add", f"add_{i}_{k}", [s, f"dropout_{i}_{k}"])
            states = [f"add_{i}_{k}" for k in KINDS]
        for kind, s in zip(KINDS[:2], states, strict=False):
            self.add("Set2Set", f"set2set_{kind}", [s], T=PASSES, activation="linear",
                     activation_lstm="tanh", recurrent_activation="hard_sigmoid")  # fmt: skip
        self.add("Concatenate", "whole", ["set2set_atom", "set2set_bond", states[2]])
        self.add("Dense", "readout_2", [self.dense("readout", "whole")], activation="linear")
        return self

    def content(self, change=None):
        """The bytes of NAME.hdf5; `change` may alter the layers and then the open file."""
        (change or Change()).layers(self)
        config = {"layers": self.layers[::-1], "output_layers": [[self.names["readout_2"], 0, 0]]}
        buffer = io.BytesIO()
        with h5py.File(buffer, "w") as file:
            file.attrs["model_config"] = json.dumps({"config": config})
            for name, array in self.state.items():
                layer, leaf = name.split("/")
                theirs = self.names[layer]
                file[f"model_weights/{theirs}/{theirs}_3/{leaf}:0"] = array
            (change or Change()).file(file, self.names)
        return buffer.getvalue()


class Change:
    def layers(self, keras):
        """Nothing."""

    def file(self, file, names):
        """Nothing."""


def said(**more):
    """The content of NAME.hdf5.json."""
    graphs = {
        "@class": "SimpleMolGraph",
        "atom_converter": {"@class": "AtomNumberToTypeConverter", "mapping": MAPPING},
        "bond_converter": {
            "@class": "GaussianDistance",
            "centers": {"data": np.linspace(0, 4, CENTRES).tolist()},
            "width": WIDTH,
        },
    }
    scaler = {"@class": "StandardScaler", "mean": -1.5, "std": 2.0, "is_intensive": False}
    facts = {"name": "Energy gap", "unit": "eV", "training dataset": "QM9"}
    whole = {"graph_converter": graphs, "target_scaler": scaler, "metadata": facts}
    return json.dumps(whole | more).encode()


def write(folder, change=None, name="gap.hdf5", **more):
    path = folder / name
    path.write_bytes(Keras(weights()).build().content(change))
    (folder / f"{name}.json").write_bytes(said(**more))
    return path


def whole(encoder, frames):
    structures = Structures.from_atoms(frames)
    batch = padded(encoder, structures, np.arange(len(frames)), int(structures.sizes.max()))
    return encoder.features_and_output(batch)


FRAMES = [molecule("CH3CONH2"), molecule("H2O"), molecule("H2CF2")]


def test_a_converted_file_is_the_definition_and_loads(tmp_path):
    path = write(tmp_path)
    status, printed, errors = call("models", "convert", path, "--out", tmp_path / "mine")
    assert (status, errors) == (0, "")
    assert "interaction_1  4x0e" in printed
    encoder = models.load(tmp_path / "mine")
    assert (encoder.name, encoder.target, encoder.unit) == ("mine", "gap", "eV")
    assert encoder.aggregate == "sum"
    assert encoder.elements == (1, 6, 7, 8, 9)
    layers, output = whole(encoder, FRAMES)
    for row, frame in enumerate(FRAMES):
        expected, hidden, value = by_definition(weights(), frame, (-1.5, 2.0, False))
        for layer, atoms in expected.items():
            found = layers[layer].array[row, : len(frame)]
            np.testing.assert_allclose(found, atoms, rtol=1e-12, atol=1e-13, err_msg=layer)
        for found in layers["readout"].array[row, : len(frame)]:
            np.testing.assert_allclose(found, hidden, rtol=1e-12)
        np.testing.assert_allclose(output[row], value, rtol=1e-12)


def test_a_saved_model_says_what_it_is(tmp_path):
    path = write(tmp_path)
    models.convert(path, tmp_path / "mine")
    card = card_of(tmp_path / "mine")
    assert (card.family, card.licence, card.data) == ("MEGNet", "unknown", "QM9, split unknown")
    status, printed, _ = call("models", "show", tmp_path / "mine")
    assert status == 0
    assert "QM9, split unknown" in printed


class Activation(Change):
    def layers(self, keras):
        keras.layers[-3]["config"]["activation"] = "relu"


class Embedded(Change):
    def layers(self, keras):
        next(x for x in keras.layers if x["config"]["name"] == keras.names["in_state"])[
            "class_name"
        ] = "Embedding"


class Crossed(Change):
    """The second block reads the bonds for its atoms."""

    def layers(self, keras):
        by_name = {x["config"]["name"]: x for x in keras.layers}
        block = by_name[keras.names["megnet_1"]]["inbound_nodes"][0]
        block[0], block[1] = block[1], block[0]


class Endless(Change):
    """A dropout reads itself."""

    def layers(self, keras):
        drop = next(x for x in keras.layers if x["class_name"] == "Dropout")
        drop["inbound_nodes"] = [[[drop["config"]["name"], 0, 0, {}]]]


class Soft(Change):
    def file(self, file, names):
        place = f"model_weights/{names['readout_1']}"
        del file[place]
        file[place] = h5py.SoftLink("/model_weights")


class Elsewhere(Change):
    def file(self, file, names):
        place = f"model_weights/{names['readout_1']}"
        del file[place]
        file[place] = h5py.ExternalLink("/etc/passwd", "/")


class Missing(Change):
    def file(self, file, names):
        del file[f"model_weights/{names['megnet_1']}"]


class Large(Change):
    """A few bytes that claim to be gigabytes."""

    def file(self, file, names):
        place = f"model_weights/{names['readout_1']}/{names['readout_1']}_3"
        del file[f"{place}/kernel:0"]
        shape = 100_000, 100_000
        file.create_dataset(f"{place}/kernel:0", shape, np.float32, chunks=(1000, 1000))


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (Activation(), "activation='relu' is not ported"),
        (Embedded(), "state begin in a layer Embedding"),
        (Crossed(), "reads another state"),
        (Endless(), "read each other in a circle"),
        (Soft(), "no array of weights"),
        (Elsewhere(), "no array of weights"),
        (Missing(), "no array of weights"),
        (Large(), "no array of weights"),
    ],
    ids=lambda x: type(x).__name__ if isinstance(x, Change) else "",
)
def test_what_a_file_may_not_hold(tmp_path, change, word):
    path = write(tmp_path, change)
    with pytest.raises(FileError) as caught:
        models.convert(path, tmp_path / "out")
    one_line(caught, word, "gap.hdf5")
    assert not (tmp_path / "out").exists()


def test_what_is_wrong_beside_a_file_is_one_line(tmp_path):
    def refused(path, *words, **options):
        with pytest.raises(InputError) as caught:
            models.convert(path, tmp_path / "out", **options)
        one_line(caught, *words)
        assert not (tmp_path / "out").exists()

    path = write(tmp_path)
    refused(path, "no head to choose", head="first")
    beside = tmp_path / "gap.hdf5.json"
    for graphs in ("CrystalGraphDisordered", "CrystalGraph"):
        changed = json.loads(said())
        changed["graph_converter"]["@class"] = graphs
        beside.write_text(json.dumps(changed))
        refused(path, "cutoff" if graphs == "CrystalGraph" else graphs)
    beside.write_bytes(said(target_scaler={"@class": "LogScaler"}))
    refused(path, "LogScaler")
    beside.write_bytes(said(target_scaler={"@class": "StandardScaler", "mean": "x"}))
    refused(path, "finite number")
    beside.write_text("{")
    refused(path, "no file of megnet")
    beside.unlink()
    refused(path, "gap.hdf5.json is missing")
    path.write_bytes(path.read_bytes()[:900])
    beside.write_bytes(said())
    refused(path, "damaged")
    (tmp_path / "note.txt").write_text("no model")
    refused(tmp_path / "note.txt", "no Keras file of megnet", "nothing else can be converted")
    refused(tmp_path / "none", "cannot read")


def archive(path, names, folder="megnet-1.3.2/mvl_models", **more):
    """A source distribution with these networks, and a member that wants to lie elsewhere."""
    content = {f"{folder}/{name}.hdf5": Keras(weights()).build().content() for name in names}
    content |= {f"{name}.json": said(**more) for name in content}
    content["megnet-1.3.2/../../outside"] = b"x"
    with tarfile.open(path, "w:gz") as file:
        for name, data in content.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    return path


@pytest.fixture
def published(monkeypatch):
    """Take a small archive for the published one."""

    def take(path, *files):
        networks = [n for n in megnet_networks.NETWORKS if n.file in files]
        monkeypatch.setattr(megnet_networks, "NETWORKS", networks)
        monkeypatch.setattr(megnet_networks, "SHA256", megnet_networks.hash_file(path))

    return take


def test_an_archive_becomes_a_folder_for_each_network(tmp_path, published):
    files = ("qm9-2018.6.1/gap", "qm9-2018.6.1/U0")
    path = archive(tmp_path / "a.tar.gz", files)
    published(path, *files)
    out = tmp_path / "made" / "out"
    status, printed, errors = call("models", "convert", path, "--out", out)
    assert (status, errors) == (0, "")
    assert printed.count("saved") == 2
    assert {p.name for p in out.iterdir()} == {"megnet-qm9-gap", "megnet-qm9-u0"}
    assert {p.name for p in tmp_path.iterdir()} == {"a.tar.gz", "made"}
    energy = models.load(out / "megnet-qm9-u0")
    assert (energy.name, energy.target, energy.unit) == ("megnet-qm9-u0", "u0_atom", "eV")
    card = card_of(out / "megnet-qm9-gap")
    assert card.licence == "BSD-3-Clause"
    assert card.data.startswith("QM9, split unknown")


def test_another_archive_is_refused(tmp_path, published):
    def refused(path, *words):
        with pytest.raises(FileError) as caught:
            models.convert(path, tmp_path / "out")
        one_line(caught, *words)
        assert not (tmp_path / "out").exists()

    wanted = "qm9-2018.6.1/gap"
    path = archive(tmp_path / "a.tar.gz", [wanted])
    refused(path, "not the source distribution of megnet 1.3.2", "SHA-256", "pip download")
    published(path, wanted, "qm9-2018.6.1/U0")
    refused(path, "lacks megnet-1.3.2/mvl_models/qm9-2018.6.1/U0.hdf5")
    with tarfile.open(path, "w:gz") as file:
        link = tarfile.TarInfo(f"megnet-1.3.2/mvl_models/{wanted}.hdf5")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        file.addfile(tarfile.TarInfo("megnet-1.3.2/LICENSE"))
        file.addfile(link)
    published(path, wanted)
    refused(path, "lacks megnet-1.3.2/mvl_models/qm9-2018.6.1/gap.hdf5")
    other = archive(tmp_path / "b.tar.gz", [wanted], folder="other-1.0")
    with tarfile.open(other, "w:gz") as file:
        file.addfile(tarfile.TarInfo("other-1.0"))
    refused(other, "nothing else can be converted")


def test_names_and_targets_of_the_published_networks():
    names = [network.name for network in megnet_networks.NETWORKS]
    assert len(set(names)) == len(names) == 22
    assert {"megnet-qm9-gap", "megnet-mp-formation-energy"} <= set(names)
    qm9 = [n for n in megnet_networks.NETWORKS if n.file.startswith("qm9")]
    assert len(qm9) == 13
    assert all("split unknown" in network.data for network in megnet_networks.NETWORKS)


def test_a_network_of_crystals_and_of_other_gaussians():
    state = weights()
    config = {
        "graph_converter": "CrystalGraph", "cutoff": 4, "width": WIDTH, "npass": PASSES,
        "nblocks": BLOCKS, "is_classification": True, "is_intensive": True, "mean": 0, "std": 1,
        "centers": np.linspace(0, 4, CENTRES).tolist(),
    }  # fmt: skip
    encoder = models.from_state_dict("megnet", config, state)
    assert (encoder.periodic, encoder.cutoff, encoder.aggregate) == (True, 4, "mean")
    assert encoder.elements == tuple(range(1, 9))
    for centres in ([0.0, 1.0, 3.0], [1.0, 2.0], "near"):
        with pytest.raises(InputError, match="Gaussians") as caught:
            models.from_state_dict("megnet", config | {"centers": centres}, state)
        one_line(caught)
    for mapping in ({"1": 9}, {"x": 1}, [1]):
        with pytest.raises(InputError, match="mapping"):
            models.from_state_dict("megnet", config | {"mapping": mapping}, state)


def test_the_magic_bytes_are_those_of_h5py(tmp_path):
    assert write(tmp_path).read_bytes().startswith(keras_files.MAGIC)
