"""Images: decoding with guards, their content by hash, and restained copies.

Decoded images are ``uint8`` RGB arrays of shape (height, width, 3).
"""
