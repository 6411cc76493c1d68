"""Migrations run on a throw-away database, under the statements of the code that is deployed while they run."""
