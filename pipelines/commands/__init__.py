"""One module per room of the house; a command reads its arguments, calls one function and prints."""
