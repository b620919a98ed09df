"""What is stored: the layout of hourly folders, the records in them, and the stores beneath."""
