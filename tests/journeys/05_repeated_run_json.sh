# A run folder: listed, shown, compared, and repeated from its run.json.
# made: plain
bchisto featurize --images images --out run --encoder mobilenetv2 --view 1.0:48
bchisto boost --out run --folds 3
cp -r run trial
# page: docs/files.md
test -s again/boost/3-lightgbm/predictions.csv
