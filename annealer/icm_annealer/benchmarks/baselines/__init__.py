"""Every method that labels have to be compared with, on one task: `icm baselines`."""
