"""What happens to clients and to what was acknowledged when PostgreSQL, its disks, its clock or the way to it fail."""
