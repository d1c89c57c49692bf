"""How agents get onto nodes: one module a kind of compute."""
