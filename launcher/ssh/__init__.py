"""Runs whose nodes are machines that are reached over ssh."""
