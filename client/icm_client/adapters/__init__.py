"""A scorer as a model of other people's evaluation programs. Each module needs the program that it is for."""
