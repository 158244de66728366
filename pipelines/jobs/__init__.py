"""Running the same recipes on clusters."""
