"""CNNs in Keras 3, one module each. Inputs are RGB in 0..255, outputs are probabilities."""
