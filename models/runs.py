"""Read what a finished training run left in its folder, and compare it with its hashes.

card.json    data, budget and errors of the model
split.npz    which molecules it was trained on; the models of the zoo share one
model/       the model itself (`weights/saved_models.py`)
SHA256SUMS   the hashes of these files, and of what else the run wrote
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from cpdjax import checksums
from cpdjax.configuration import checked
from cpdjax.errors import FileError, InputError
from cpdjax.models.naming import CARD, CONFIG, MODEL, SPLIT, ZOO

if TYPE_CHECKING:
    from cpdjax.data.splits import Split

FORMAT = 4
"""Runs of this format have seen every molecule in every epoch; earlier ones left the remainder of
each bucket out."""
_HASHED = 3
"""Cards of this format have hashes beside them; those of version 0.1.0 have neither."""
_MOST_BYTES = 1_000_000

Text = Annotated[str, Field(max_length=200)]
Count = Annotated[int, Field(ge=0)]
Error = Annotated[float, Field(ge=0, allow_inf_nan=False)]


class RunCard(BaseModel):
    """Hold the facts of a training run's model."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    format: Annotated[int, Field(ge=1, le=FORMAT)] = 1
    name: Text
    architecture: Text
    target: Text
    unit: Text
    dataset: Text
    molecules: Count
    molecules_seen: Count
    seed: Count
    parameters: Count
    validation_mae: Error
    test_mae: Error
    mean_mae: Error
    composition_mae: Error
    split: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    """Hash of the split; older runs have it in `config.json`."""
    command: Annotated[str, Field(max_length=1000)]


def card(folder: Path) -> RunCard:
    """Return the card of a finished run.

    Raises:
        FileError: it is missing, damaged or changed, or of a newer format.
    """
    values = read_json(folder / CARD)
    if isinstance(values.get("format"), int) and values["format"] > FORMAT:
        raise FileError(f"{folder / CARD} was written by a newer version of cpdjax")
    hashed = values.get("format") in range(_HASHED, FORMAT + 1)
    if hashed or (folder / checksums.RECORD).exists():
        checksums.check_files(folder, CARD)
    try:
        return checked(RunCard, values)
    except InputError as error:
        raise FileError(f"{folder / CARD} is no card of a run: {str(error)[:300]}") from None


def split(folder: Path) -> Split:
    """Return which molecules the model of a finished run has seen.

    Raises:
        FileError: the record is missing, damaged or of another run.
    """
    from cpdjax.data.splits import Split  # and pandas, which cards do without

    path = (ZOO if folder.parent == ZOO else folder) / SPLIT
    if not path.is_file():
        raise FileError(
            f"{path} is missing: without it nobody knows which molecules the model of {folder} was "
            "trained on; take the whole folder from where it came"
        )
    expected = card(folder).split or read_json(folder / CONFIG).get("split")
    found = Split.load(path)
    if found.hash != expected:
        raise FileError(
            f"{path} is not the split of the run in {folder}: it is damaged or was changed; take "
            "the whole folder from where it came"
        )
    return found


def check_config(folder: Path) -> None:
    """Refuse the settings of a finished run that are not those that it was trained with.

    Raises:
        FileError: their hash is missing or another.
    """
    if card(folder).format >= _HASHED:
        checksums.check_files(folder, CONFIG)


def check_model(folder: Path) -> None:
    """Refuse a model that is not the one that the run in this folder wrote.

    Raises:
        FileError: its hashes are missing or others; or the card is not the run's.
    """
    if card(folder).format >= _HASHED:
        checksums.check_files(folder, f"{MODEL}/{checksums.RECORD}")


def read_json(path: Path) -> dict[str, Any]:
    """Return the values of a small JSON file.

    Raises:
        FileError: it cannot be read, is too large, or holds anything but named values.
    """
    try:
        if path.stat().st_size > _MOST_BYTES:
            raise FileError(f"{path} has more than {_MOST_BYTES:,} bytes, which no record needs")
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise FileError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise FileError(f"{path} is no JSON, or it is damaged: {reason}") from None
    if not isinstance(values, dict):
        raise FileError(f"{path} holds no named values: it is damaged or another file")
    return values
