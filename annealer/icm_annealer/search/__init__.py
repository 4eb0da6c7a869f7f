"""What a search is: a generator that yields requests for passes and receives the answers; and the one driver."""
