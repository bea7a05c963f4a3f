"""Weights of other toolkits in our models."""
