"""The published system ``lab-study``."""

from importlib.resources import files

LAB_STUDY = files("bchisto_lab") / "lab-study.yaml"
