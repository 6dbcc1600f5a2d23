"""What the kernel is asked to do for a process."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.process

RAISE = """
import resource
from common.processes import allow_descriptors
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
print(allow_descriptors(), *resource.getrlimit(resource.RLIMIT_NOFILE))
"""


@pytest.mark.parametrize("soft", [256, 2000])
def test_the_soft_limit_of_descriptors_becomes_the_hard_one(soft):
    script = RAISE.format(soft=soft, hard=2000)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.stdout == "2000 2000 2000\n", done.stderr
