"""Labels out: a finished run in the formats that tools for training, reviewing and cleaning read."""
