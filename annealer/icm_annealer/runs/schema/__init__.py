"""What every file of a run holds, as pydantic models: a file is written from its model and read through it."""
