"""Accuracy, speed, memory, cold start and gradients, measured beside other solvers: `python -m benchmarks`."""
