"""Searches: pure state machines that ask for passes and are told the answers."""
