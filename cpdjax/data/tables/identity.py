"""Find what says who the rows are: by which names ids, formulas, SMILES and CIF texts go."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from cpdjax.errors import InputError

ROLES = ("id", "formula", "smiles", "cif")
"""Name what is known of rows and is no number to fit."""
#: Names by which they go as well, where there is one of them alone.
_ALSO = {
    "id": frozenset(
        {"ids", "mol_id", "molid", "molecule_id", "structure_id", "material_id", "identifier"}
    ),
    "formula": frozenset({"formulas"}),
}


def roles(names: Iterable[str], wanted: Sequence[str] = ROLES) -> dict[str, str]:
    """Return which columns, or arrays, say who the rows are, by what they hold.

    Raises:
        InputError: if two of them hold the same.

    >>> roles(["ID", "mol_id", "formulas", "gap"])
    {'id': 'ID', 'formula': 'formulas'}
    """
    plain = {name: name.strip().lower().replace(" ", "_") for name in names}
    found = {}
    for role in wanted:
        same = [name for name, known in plain.items() if known == role]
        if len(same) > 1:
            raise InputError(f"{' and '.join(map(repr, same))} both give the {role}: keep one")
        others = [name for name, known in plain.items() if known in _ALSO.get(role, ())]
        if same or len(others) == 1:
            found[role] = (same or others)[0]
    return found
