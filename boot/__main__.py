"""`python -m boot`: the command line in the Python that is asked, whatever `.venv` there is."""

from boot.cli import main

main()
