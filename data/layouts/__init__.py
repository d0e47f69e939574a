"""Layouts: one module per dataset, with its `LayoutSpec`: how it is recognised and read, and what is known of it.

In: a folder, or a manifest file. Out: a list of `ImageRecord` and a list of `Finding`. A module of this folder that has
a `LayoutSpec` called ``LAYOUT`` is a layout, and so is an entry point of the group ``bchisto.datasets``; no other file
lists them.
"""
