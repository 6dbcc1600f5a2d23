"""Procfile.dev: the processes of `make run`, one by one."""

from honcho.environ import parse_procfile

from boot.supervisor import commands
from boot.tests.portal import ROOT


def test_it_starts_each_process_of_the_supervisor():
    processes = parse_procfile((ROOT / "Procfile.dev").read_text()).processes
    assert dict(processes) == {name: f"exec ./doorito start {name}" for name in commands()}
