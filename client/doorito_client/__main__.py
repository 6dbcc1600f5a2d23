"""`python -m doorito_client` is the command `doorito-client`."""

from doorito_client.cli.main import main

main(prog_name="doorito-client")
