"""Folds: decide which images train, validate and test. Folds are drawn, published, or given as a list.

The input is the IDs, labels and groups of images. The output is a `FoldPlan`, with rows of image ID, fold and part.
"""
