"""Small leaves: text from outside (how it is shown, and YAML), the distribution's name, and entry points."""
