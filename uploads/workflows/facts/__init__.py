"""Facts about a file that need no conversion. Each kind has a module, loaded when used."""
