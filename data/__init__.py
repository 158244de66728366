"""From a file somebody sent to a versioned, typed, de-identified snapshot."""
