"""
What speaks HTTP, and the fake beside it.
"""
