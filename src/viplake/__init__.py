"""viplake: lands every hourly export of the VIP Data Lake in your own lake, and proves it."""
