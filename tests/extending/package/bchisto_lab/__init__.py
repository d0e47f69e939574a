"""What a laboratory adds to bchisto: the example of its page on extending."""
