"""Supervised fine-tuning: from labelled examples to a classifier."""
