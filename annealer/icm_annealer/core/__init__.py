"""The two kinds of array, and the objective U that is computed on them."""
