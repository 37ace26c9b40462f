"""Distort molecules, and label every geometry by GFN2-xTB: nothing but geometry varies."""
