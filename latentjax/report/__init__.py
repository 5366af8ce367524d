"""What people look at: statistics, curves, the gallery."""
