"""Simulate patients and populations; endpoints."""
