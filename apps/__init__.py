"""Applications of the pipeline, which does not depend on them: whoever changes the pipeline may ignore them."""
