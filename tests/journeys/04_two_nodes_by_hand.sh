# Two machines by hand: shares at the same time, then the same command without --shard, and equal results.
# made: plain
{ bchisto featurize --images images --out run --shard 1/2 & bchisto featurize --images images --out run --shard 2/2 & wait; }
bchisto boost --out run --folds 10 --shard 1/2  # 2: feature extraction is not finished
# page: docs/cluster.md, without: submit, status run, --dask, featurize --images images --out run --shard
bchisto featurize --images images --out alone
bchisto boost --out alone --folds 10
cmp run/boost/10-lightgbm/predictions.csv alone/boost/10-lightgbm/predictions.csv
