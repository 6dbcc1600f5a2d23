"""The tables of the knowledge base in aikb/, made from the code."""
