"""The stain method ``lab-reinhard``: the mean and spread of the tissue's colours become those of the lab's slides."""

import numpy as np
from bchisto.core import TissueError
from bchisto.stains import MacenkoNormalizer, StainSpec

MEAN = (160.0, 155.0, 105.0)  # of tissue on the lab's slides, in OpenCV's 8-bit CIELAB
SPREAD = (35.0, 10.0, 10.0)


class Reinhard:
    def normalize_with_estimate(self, image):
        """Return a new image, uint8 RGB of shape (height, width, 3), and the stains found: it finds none."""
        import cv2

        tissue = MacenkoNormalizer(robust=True).tissue(image)
        if tissue.sum() < 100:
            raise TissueError(f"too little tissue: {tissue.sum()} stained pixels")
        colours = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
        pixels = colours[tissue].astype(np.float64)
        scale = SPREAD / np.maximum(pixels.std(axis=0), 1.0)
        moved = (pixels - pixels.mean(axis=0)) * scale + MEAN
        colours[tissue] = np.clip(moved.round(), 0, 255)
        return cv2.cvtColor(colours, cv2.COLOR_LAB2RGB), None


REINHARD = StainSpec(
    name="lab-reinhard",
    make=Reinhard,
    method="Colours were normalised to the lab's slides by the method of Reinhard et al. [@reinhard2001].",
)
