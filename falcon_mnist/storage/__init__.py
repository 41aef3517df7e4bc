"""What outlives the process: rows and files."""
