"""Applications on the pipeline, a command each: the pipeline knows none of them, and who changes it may ignore them."""
