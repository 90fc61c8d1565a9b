"""How well trials keep to a memory budget, measured without a GPU."""
