"""The published networks of megnet 1.3.2, whose wheel holds none: 13 of QM9, 9 of crystals.

Source: https://pypi.org/project/megnet/1.3.2/, `megnet-1.3.2.tar.gz`, BSD-3-Clause. pip brings
it: `pip download --no-deps --no-build-isolation --no-binary megnet megnet==1.3.2`. Nothing is
unpacked: of the members of the archive, those with the names below are read into memory, and
nothing else is. The multi-fidelity networks (`mf_2020`), which begin with a choice of the level of
theory, are left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from cpdjax.errors import FileError
from cpdjax.hashing import hash_file
from cpdjax.models import registry
from cpdjax.models.encoder import Encoder
from cpdjax.models.weights import archives, keras_files, saved_models
from cpdjax.models.weights.keras_files import KerasFile

SHA256 = "0c2de597860fa3caeefc3591f01fe48e8cc70adbda812f5b72a47c3eb6361a99"
"""Hash of `megnet-1.3.2.tar.gz`, which has 30,264,908 bytes."""
_FOLDER = "megnet-1.3.2/mvl_models"
_LICENCE = "BSD-3-Clause"
_MOST_TEXT = 100  # characters of what a file says of itself


class Network(NamedTuple):
    """Say what one of the published networks predicts."""

    file: str
    """Its place below `mvl_models`, without the suffix."""
    name: str
    target: str
    unit: str

    @property
    def data(self) -> str:
        """Return what it was trained on."""
        if self.file.startswith("qm9"):
            return "QM9, split unknown: 80 % of 130,462 molecules"
        return f"Materials Project ({self.file.partition('/')[0]}), split unknown"


# The units of megnet's own records are not all true: zero-point energies are in eV there, not meV.
NETWORKS = (
    Network("qm9-2018.6.1/gap", "megnet-qm9-gap", "gap", "eV"),
    Network("qm9-2018.6.1/HOMO", "megnet-qm9-homo", "homo", "eV"),
    Network("qm9-2018.6.1/LUMO", "megnet-qm9-lumo", "lumo", "eV"),
    Network("qm9-2018.6.1/mu", "megnet-qm9-mu", "mu", "debye"),
    Network("qm9-2018.6.1/alpha", "megnet-qm9-alpha", "alpha", "bohr^3"),
    Network("qm9-2018.6.1/R2", "megnet-qm9-r2", "r2", "bohr^2"),
    Network("qm9-2018.6.1/ZPVE", "megnet-qm9-zpve", "zpve", "eV"),
    Network("qm9-2018.6.1/U0", "megnet-qm9-u0", "u0_atom", "eV"),
    Network("qm9-2018.6.1/U", "megnet-qm9-u298", "u298_atom", "eV"),
    Network("qm9-2018.6.1/H", "megnet-qm9-h298", "h298_atom", "eV"),
    Network("qm9-2018.6.1/G", "megnet-qm9-g298", "g298_atom", "eV"),
    Network("qm9-2018.6.1/Cv", "megnet-qm9-cv", "cv", "cal/(mol K)"),
    Network("qm9-2018.6.1/omega1", "megnet-qm9-omega1", "omega1", "cm^-1"),
    Network(
        "mp-2019.4.1/formation_energy", "megnet-mp-formation-energy", "formation_energy", "eV/atom"
    ),
    Network("mp-2019.4.1/efermi", "megnet-mp-efermi", "efermi", "eV"),
    Network("mp-2019.4.1/log10K", "megnet-mp-log10k", "log10_bulk_modulus", "log10(GPa)"),
    Network("mp-2019.4.1/log10G", "megnet-mp-log10g", "log10_shear_modulus", "log10(GPa)"),
    Network(
        "mp-2018.6.1/formation_energy",
        "megnet-mp-2018-formation-energy",
        "formation_energy",
        "eV/atom",
    ),
    Network("mp-2018.6.1/band_gap_regression", "megnet-mp-2018-band-gap", "band_gap", "eV"),
    Network("mp-2018.6.1/band_classification", "megnet-mp-2018-metal", "metal", "probability"),
    Network("mp-2018.6.1/log10K", "megnet-mp-2018-log10k", "log10_bulk_modulus", "log10(GPa)"),
    Network("mp-2018.6.1/log10G", "megnet-mp-2018-log10g", "log10_shear_modulus", "log10(GPa)"),
)


def convert_archive(path: Path, out: Path) -> list[Encoder]:
    """Save every network of the source distribution in a folder of its name below `out`.

    Raises:
        FileError: it is not the published file, or `out` holds a folder of such a name that is no
            saved model.
    """
    sha256 = hash_file(path)
    if sha256 != SHA256:
        raise FileError(
            f"{path} is not the source distribution of megnet 1.3.2 (SHA-256 {sha256[:12]}…, "
            f"expected {SHA256[:12]}…): pip download --no-deps --no-build-isolation "
            "--no-binary megnet megnet==1.3.2; "
            "networks of another one are converted file by file, NAME.hdf5 with NAME.hdf5.json"
        )
    contents = _members(path)
    found = []
    for network in NETWORKS:
        file = f"{_FOLDER}/{network.file}.hdf5"
        read = keras_files.from_bytes(contents[file], contents[f"{file}.json"], file)
        facts = {"family": "MEGNet", "licence": _LICENCE, "data": network.data}
        origin = {**facts, "file": path.name, "member": file, "sha256": SHA256}
        made = registry.file_of("megnet").from_state_dict(read.config, read.state)
        said = {"target": network.target, "unit": network.unit}
        found.append(saved_models.written(out / network.name, made, origin, **said))
    return found


def _members(path: Path) -> dict[str, bytes]:
    """Return the content of the members that are wanted; the others are passed over unread.

    Raises:
        FileError: one is missing or no plain file.
    """
    files = [f"{_FOLDER}/{network.file}.hdf5" for network in NETWORKS]
    wanted = {*files, *(f"{file}.json" for file in files)}
    contents = archives.contents(path, wanted.__contains__)
    missing = sorted(wanted - contents.keys())
    if missing:
        raise FileError(f"{path} lacks {missing[0]} ({len(missing)} of {len(wanted)} files)")
    return contents


def convert_file(path: Path, out: Path) -> list[Encoder]:
    """Save the network of one Keras file, beside which its JSON file lies.

    Raises:
        FileError: a file is missing, damaged or of another kind.
        InputError: the network has something that is not ported.
    """
    read = keras_files.read(path)
    said = read.metadata
    target, unit = (str(said.get(key, ""))[:_MOST_TEXT] for key in ("name", "unit"))
    network = _published(path, read)
    if network:
        target, unit = network.target, network.unit
    facts = {"family": "MEGNet", "data": f"{_data(read) or 'unknown'}, split unknown"}
    origin = {**facts, "file": path.name, "sha256": hash_file(path)}
    made = registry.file_of("megnet").from_state_dict(read.config, read.state)
    return [saved_models.written(out, made, origin, target=target, unit=unit)]


def _data(read: KerasFile) -> str:
    """Return the data that a network was trained on, by its own record."""
    keys = ("training dataset", "training data")
    return next((str(read.metadata[k])[:_MOST_TEXT] for k in keys if k in read.metadata), "")


def _published(path: Path, read: KerasFile) -> Network | None:
    """Return which of the published networks a file is, by its name and what is said of it."""
    data = _data(read)
    folder = "qm9-2018.6.1" if data == "QM9" else data
    place = f"{folder}/{path.name.removesuffix('.hdf5')}"
    return next((network for network in NETWORKS if network.file == place), None)
