"""Figures, tables and HTML reports."""
