"""From a recipe and a snapshot to a registered candidate."""
