"""What every HTTP request passes before and after its route."""
