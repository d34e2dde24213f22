"""
Adapters, one file for each vendor.
"""
