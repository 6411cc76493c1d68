"""Migrations read: the SQL that PostgreSQL will get by squawk, the operations by rules of what SQL does not show."""
