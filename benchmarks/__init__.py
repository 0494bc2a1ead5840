"""Performance bars, one ``bench_*.py`` a subject; ``python -m benchmarks`` runs them all."""
