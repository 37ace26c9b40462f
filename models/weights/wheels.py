"""Find weights inside installed wheels, which are read and never imported."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from cpdjax.errors import FileError
from cpdjax.hashing import hash_file

#: Installs the wheels that carry weights, without their dependencies, so that torch stays out.
INSTALL = (
    "pip install --no-deps sevenn==0.13.0 so3krates-torch==0.2.1 chgnet==0.4.2 torchani==2.2.4"
)


def packaged(package: str, file: str, sha256: str) -> Path:
    """Return the path of a file inside an installed distribution, its content checked.

    Raises:
        FileError: the distribution or the file is missing, or the content is not the published one.
    """
    try:
        path = Path(str(distribution(package).locate_file(file)))
    except PackageNotFoundError:
        path = None
    if path is None or not path.is_file():
        raise FileError(f"the weights {file} come with the wheel of {package}: {INSTALL}")
    found = hash_file(path)
    if found != sha256:
        raise FileError(
            f"{path} is not the file these weights were published in (SHA-256 {found[:12]}…, "
            f"expected {sha256[:12]}…): {INSTALL}"
        )
    return path
