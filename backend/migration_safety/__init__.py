"""Schema change without downtime: safe operations, a linter, a rehearsal and a careful migrate, for any Django
project on PostgreSQL. Nothing of the rest of this project is imported here; what it must know comes from
`settings.MIGRATION_SAFETY`.
"""
