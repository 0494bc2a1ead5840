"""What comes in and goes out: checked data, weights, chunks, devices, probabilities."""
