"""A run's labels under review by people: a small page on this machine."""
