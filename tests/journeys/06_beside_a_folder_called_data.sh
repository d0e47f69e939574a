# Folders called data, boost and stains in the working folder, with code in them that must not be run.
# made: neighbours
python -m bchisto data check --images images  # 0: 24 images
{ bchisto featurize --images images --out run; }
python -m bchisto boost --out run --folds 2 --seeds 1 --param num_iterations=2 --jobs 2  # 0: 2-lightgbm
