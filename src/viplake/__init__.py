"""viplake: lands every hourly export of the VIP Data Lake in your own lake, and proves it."""

__version__ = "0.1.0"
