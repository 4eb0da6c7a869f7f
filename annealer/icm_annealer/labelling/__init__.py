"""One labelling: the search driven through a scorer, its folder, its alarms."""
