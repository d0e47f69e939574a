"""Tables of features that other programs computed: read from their files, labelled, and kept as feature files."""
