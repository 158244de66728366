"""How one version takes over from another: which calls it answers, how it is watched, and when it is given up."""
