"""Floor 4: comparing regimens over the same patients."""
