"""Folds: which images train, validate and test; split, published, or given as a list.

In: ids, labels and groups of images. Out: a `FoldPlan`, whose rows are image id, fold and part.
"""
