"""`regiment agent`: a node that something else has started, and that finds the run's other nodes by itself."""
