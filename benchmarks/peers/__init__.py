"""Other solvers on the same equations and the same dated events."""
