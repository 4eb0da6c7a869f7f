"""The contract between scorer and client: data formats, errors, and the computations that both sides share."""
