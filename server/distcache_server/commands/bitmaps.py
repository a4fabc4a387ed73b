"""The bitmaps commands."""
