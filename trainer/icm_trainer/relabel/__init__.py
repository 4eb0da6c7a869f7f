"""Labels from tuned models: each label is what a model answers that was tuned on the labels of other examples."""
