"""How well a fit describes its data: replicates, prediction errors, visual predictive checks, residuals, shrinkage."""
