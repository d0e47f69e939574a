# A run folder of release 0.1: listed, shown, compared, and repeated from its run.json.
# made: earlier
# page: docs/files.md
test -s again/boost/3-lightgbm/predictions.csv
