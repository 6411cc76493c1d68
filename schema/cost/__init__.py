"""What an operation costs, what it may cost, and what is left of a budget."""
