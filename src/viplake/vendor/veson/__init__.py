"""The port over the VIP Data Lake API of Veson."""
