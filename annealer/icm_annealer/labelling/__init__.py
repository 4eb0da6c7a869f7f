"""One labelling: runs a search with a scorer, and writes its folder, its metrics and its alarms."""
