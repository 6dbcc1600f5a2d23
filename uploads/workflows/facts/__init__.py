"""What can be told about a file without converting it; a module for each kind, loaded when used."""
