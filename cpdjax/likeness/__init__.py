"""Measure how alike the columns of many channels are: arrays alone, no molecule, model or file."""
