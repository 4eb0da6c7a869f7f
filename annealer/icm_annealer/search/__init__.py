"""Searches: pure generators that yield requests for passes and receive the answers."""
