"""What the science says, in sympy."""
