"""From a candidate to a signed verdict, and from a verdict to a champion."""
