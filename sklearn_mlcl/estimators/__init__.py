"""The estimators; each is exported once, by the package or by ``collapse``."""
