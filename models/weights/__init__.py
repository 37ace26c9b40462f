"""Weights from elsewhere: state dicts, files of torch, wheels, folders of saved models."""
