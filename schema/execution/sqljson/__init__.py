"""Plain root fields as SQL whose rows arrive as JSON text: outline, compile, execute, join as bytes."""
