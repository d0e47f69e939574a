# No network: the message says what to do, and each of its two ways goes on.
# made: plain
KERAS_HOME=$PWD/keras https_proxy=http://127.0.0.1:9 python -m bchisto featurize --images images --out run --encoder mobilenetv2 --view 1.0:48  # 2: cannot be fetched: no network
bchisto featurize --images images --out run --weights random  # 0: wrote run/features
bchisto boost --out run --folds 5  # 0: RANDOM WEIGHTS
