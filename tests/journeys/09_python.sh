# Python from a file of the user's; the second example of docs/python.md is run by tests/house/test_python.py.
# made: examples
python example.py  # 0: (64, 64, 3) uint8
