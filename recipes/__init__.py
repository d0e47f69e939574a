"""Whole experiments in one call."""

from .demo import DemoResult, demo

__all__ = ["DemoResult", "demo"]
