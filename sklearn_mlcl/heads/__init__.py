"""What stands on an embedding: heads, neighbours, regressions beside the net, decision rules."""
