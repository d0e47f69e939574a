"""CNNs in Keras 3, one file each; inputs are RGB in 0..255, outputs probabilities."""
