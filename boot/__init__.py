"""The composition root of Doorito."""

import gc
import sys
from pathlib import Path

# Some 100,000 objects stay for good once Django is set up. Looking through them at every 700 new
# ones is a tenth of each process's start.
gc.set_threshold(20_000, 10, 10)

# The client is a distribution of its own; its commands are part of ./doorito.
sys.path.append(str(Path(__file__).resolve().parents[1] / "client"))
