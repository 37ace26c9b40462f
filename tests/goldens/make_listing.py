"""What every model that comes with cpdjax says of itself once it is loaded.

    python tests/goldens/make_listing.py

It writes `models/listing.json`, from which `cpdjax models` makes its table. All wheels of weights
must be installed.
"""

import json
from contextlib import nullcontext
from dataclasses import asdict
from unittest.mock import patch

from cpdjax import models
from cpdjax.models import listing, registry


def record(name):
    """Facts of one loaded model, ready for JSON."""
    weights = {}

    def packaged(package, file, sha256):
        weights[file] = sha256
        return listing.packaged(package, file, sha256)

    home = registry.file_of(registry.pretrained()[name]) if name in registry.pretrained() else None
    from_wheel = hasattr(home, "packaged")
    with patch.object(home, "packaged", packaged) if from_wheel else nullcontext():
        found = asdict(listing.loaded(name)) | {"weights": weights}
    del found["name"]
    return found


if __name__ == "__main__":
    records = {name: record(name) for name in models.names()}
    text = json.dumps(records, indent=1, ensure_ascii=False)
    listing.FILE.write_text(f"{text}\n", encoding="utf-8")
