"""Detection runs, their tests, and the drift events they see."""
