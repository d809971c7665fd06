"""Cells and the engines that loop them over time."""
