"""Arrays only: flag tables, geometry and the combination of flags. No files, rules or logs."""
