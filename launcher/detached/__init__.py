"""Runs on hosts that nobody waits for: the hosts keep them, and are asked about them."""
