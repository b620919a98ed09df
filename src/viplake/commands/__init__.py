"""What the commands do: one file each, and what several of them share."""
