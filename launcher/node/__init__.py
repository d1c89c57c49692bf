"""What runs on every node: keeper, agent and rank wrapper. Standard library only; it travels as one zip."""
