"""SQL over the lake's tables and its history."""
