"""`icm train`. Only this room reads argv and the environment."""
