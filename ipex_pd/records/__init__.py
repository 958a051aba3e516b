"""What people write: parameters, drugs, patients, regimens, and where they are kept."""
