"""Compare and plan treatments."""
