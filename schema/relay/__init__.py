"""Relay's parts: global ids, keyset pages, cursors and connections, each written once."""
