"""Saving so that a reader never meets half a file."""

import os
import tempfile
from pathlib import Path


def save(thing, folder):
    """`save_pretrained` into `folder`, each file put in place whole."""
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        thing.save_pretrained(scratch)
        for file in sorted(Path(scratch).iterdir()):
            os.chmod(file, 0o644)
            os.replace(file, folder / file.name)
