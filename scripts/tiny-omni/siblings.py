"""Puts scripts/tiny-target on the import path: scenes, language, optimizer and more are the first target's."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parent.parent / "tiny-target"))
