"""Notifications: one message, many channels."""
