"""The composition root of Doorito."""

import sys
from pathlib import Path

# The client is a distribution of its own; its commands are part of ./doorito.
sys.path.append(str(Path(__file__).resolve().parents[1] / "client"))
