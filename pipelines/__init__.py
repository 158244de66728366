"""The command line and the chain: the only package that may import every other."""
