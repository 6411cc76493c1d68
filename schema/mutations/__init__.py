"""Mutations, one file per noun: each calls one service."""
