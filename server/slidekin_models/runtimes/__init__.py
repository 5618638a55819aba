"""What carries a network out: one module for each library."""
