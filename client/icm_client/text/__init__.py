"""Text from outside: as people are shown it, and as YAML. All leaves."""
